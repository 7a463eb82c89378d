/* SPDX-License-Identifier: MIT */
/* What the fake driver's processes share: how much of each device is in use, and by whom. */
#include "tests/device/fake.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake_shared *fake_shared;
struct fake_settings fake_settings;
static struct fake_slot *own;

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void *map_state(void)
{
	const char *path = getenv("FAKE_CUDA_STATE");
	int fd = path && *path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
	void *at;

	if (fd >= 0 && ftruncate(fd, sizeof(struct fake_shared)))
		abort();
	at = mmap(NULL, sizeof(struct fake_shared), PROT_READ | PROT_WRITE,
		  fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
	if (fd >= 0)
		(void)close(fd);
	if (at == MAP_FAILED)
		abort();
	return at;
}

void fake_state_open(void)
{
	if (fake_shared)
		return;
	fake_settings = (struct fake_settings){
		.devices = (int)number("FAKE_CUDA_DEVICES", 1),
		.version = (int)number("FAKE_CUDA_VERSION", 13000),
		.memory = number("FAKE_CUDA_MEMORY", 8ull << 30),
		.context = number("FAKE_CUDA_CONTEXT", 0),
		.module = number("FAKE_CUDA_MODULE", 0),
		.reversed = number("FAKE_CUDA_REVERSED", 0) != 0,
		.mig = number("FAKE_CUDA_MIG", 0) != 0,
	};
	fake_shared = map_state();
}

/* In a child nothing is initialized, but what it inherited may be given back. */
static void forget_in_child(void)
{
	own = NULL;
}

static bool is_dead(int32_t pid)
{
	return kill(pid, 0) && errno == ESRCH;
}

static bool is_own(int32_t pid)
{
	return pid == (int32_t)getpid();
}

static bool is_nobody(int32_t pid)
{
	(void)pid;
	return false;
}

/* New with each exec, the same for all copies of us. */
static uint64_t image(void)
{
	uint64_t random = 0;

	memcpy(&random, (const void *)getauxval(AT_RANDOM), sizeof(random)); /* NOLINT: an address */
	return random;
}

static bool is_of_dead(struct fake_slot *s)
{
	int32_t pid = atomic_load(&s->pid);

	return pid && (is_dead(pid) || (is_own(pid) && atomic_load(&s->image) && atomic_load(&s->image) != image()));
}

static struct fake_slot *slot(void)
{
	int32_t pid;

	if (own)
		return own;
	pid = (int32_t)getpid();
	(void)pthread_atfork(NULL, NULL, forget_in_child);
	for (unsigned i = 0; i < 256; i++) {
		int32_t unused = 0;

		if (!atomic_compare_exchange_strong(&fake_shared->slot[i].pid, &unused, pid))
			continue;
		atomic_store(&fake_shared->slot[i].image, image());
		return own = &fake_shared->slot[i];
	}
	abort();
}

/* ---- what several processes have ------------------------------------------------------------------------- */

static void lock(void)
{
	while (atomic_exchange(&fake_shared->lock, 1))
		;
}

static void unlock(void)
{
	atomic_store(&fake_shared->lock, 0);
}

static struct fake_lent *find(uint64_t serial)
{
	for (unsigned i = 0; i < 256; i++)
		if (fake_shared->lent[i].serial == serial)
			return &fake_shared->lent[i];
	return NULL;
}

static void hold(struct fake_lent *l)
{
	for (unsigned i = 0; i < FAKE_HOLDERS; i++)
		if (!l->holder[i]) {
			l->holder[i] = (int32_t)getpid();
			return;
		}
	abort();
}

/* Who does not hold it any more, and with the last one the memory. */
static void let_go(struct fake_lent *l, bool (*goes)(int32_t))
{
	bool any = false;

	for (unsigned i = 0; i < FAKE_HOLDERS; i++) {
		if (l->holder[i] && goes(l->holder[i])) {
			l->holder[i] = 0;
			goes = goes == is_dead ? is_dead : is_nobody;
		}
		any |= l->holder[i] != 0;
	}
	if (any)
		return;
	atomic_fetch_sub(&fake_shared->used[l->device], l->size);
	l->serial = 0;
}

static uint64_t add(int device, uint64_t size, uint64_t serial)
{
	struct fake_lent *l = find(0);

	if (!l)
		abort();
	*l = (struct fake_lent){ .serial = serial ? serial : ++fake_shared->serials, .size = size, .device = device };
	hold(l);
	return l->serial;
}

uint64_t fake_lend(int device, uint64_t size)
{
	uint64_t serial;

	lock();
	serial = add(device, size, 0);
	unlock();
	atomic_fetch_sub(&slot()->used[device], size);
	return serial;
}

void fake_open(uint64_t serial, int device, uint64_t size)
{
	struct fake_lent *l;

	lock();
	l = find(serial);
	if (l)
		hold(l);
	else
		(void)add(device, size, serial);
	if (!l)
		atomic_fetch_add(&fake_shared->used[device], size);
	unlock();
}

void fake_close(uint64_t serial)
{
	struct fake_lent *l;

	lock();
	l = find(serial);
	if (l)
		let_go(l, is_own);
	unlock();
}

/* A driver gives back what dead processes had. */
static void bury(void)
{
	for (unsigned i = 0; i < 256; i++) {
		struct fake_slot *s = &fake_shared->slot[i];

		if (!is_of_dead(s))
			continue;
		for (int d = 0; d < FAKE_DEVICES_MAX; d++)
			atomic_fetch_sub(&fake_shared->used[d], atomic_exchange(&s->used[d], 0));
		atomic_store(&s->pid, 0);
	}
	lock();
	for (unsigned i = 0; i < 256; i++)
		if (fake_shared->lent[i].serial)
			let_go(&fake_shared->lent[i], is_dead);
	unlock();
}

/* Shared memory is shown at the first who has it. */
uint64_t fake_used_by(int device, int32_t pid)
{
	uint64_t used = 0;

	bury();
	for (unsigned i = 0; i < 256; i++)
		if (atomic_load(&fake_shared->slot[i].pid) == pid)
			used += atomic_load(&fake_shared->slot[i].used[device]);
	for (unsigned i = 0; i < 256; i++)
		if (fake_shared->lent[i].serial && fake_shared->lent[i].device == device &&
		    fake_shared->lent[i].holder[0] == pid)
			used += fake_shared->lent[i].size;
	return used;
}

static bool try_take(int device, uint64_t bytes)
{
	uint64_t seen = atomic_load(&fake_shared->used[device]);

	do {
		if (bytes > fake_settings.memory || seen + bytes > fake_settings.memory)
			return false;
	} while (!atomic_compare_exchange_weak(&fake_shared->used[device], &seen, seen + bytes));
	atomic_fetch_add(&slot()->used[device], bytes);
	return true;
}

bool fake_take(int device, uint64_t bytes)
{
	if (bytes == 0 || try_take(device, bytes))
		return true;
	bury();
	return try_take(device, bytes);
}

void fake_give(int device, uint64_t bytes)
{
	if (bytes == 0)
		return;
	atomic_fetch_sub(&slot()->used[device], bytes);
	atomic_fetch_sub(&fake_shared->used[device], bytes);
}

uint64_t fake_used(int device)
{
	bury();
	return atomic_load(&fake_shared->used[device]);
}

void fake_uuid(int device, unsigned char uuid[16])
{
	for (int i = 0; i < 16; i++)
		uuid[i] = (unsigned char)(0xfa + 0x10 * device + i);
}

void fake_address(int device, char *text, size_t size)
{
	(void)snprintf(text, size, "0000:%02X:00.0", fake_settings.mig ? 1 : device + 1);
}
