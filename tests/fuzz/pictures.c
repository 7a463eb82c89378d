/* SPDX-License-Identifier: MIT */
/* A picture of where a process asked for memory, damaged: what memctl profile reads of it. */
#include "tests/fuzz/fuzz.h"

#include "accounting/stacks.h"
#include "memctl/profile.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SITES 4u

static char dir[] = "/tmp/memctl-fuzz-XXXXXX";
static struct stacks stacks;
static FILE *nowhere;

static void remove_all(void)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "%s/" STACKS_DIRECTORY "/0", dir);
	(void)unlink(path);
	*strrchr(path, '/') = 0;
	(void)rmdir(path);
	(void)rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];
	void *file = MAP_FAILED;
	int fd;

	(void)argc, (void)argv;
	nowhere = fopen("/dev/null", "w");
	if (!nowhere || !mkdtemp(dir))
		abort();
	(void)snprintf(path, sizeof(path), "%s/" STACKS_DIRECTORY, dir);
	(void)mkdir(path, 0700);
	(void)snprintf(path, sizeof(path), "%s/" STACKS_DIRECTORY "/0", dir);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, STACKS_SIZE) == 0)
		file = mmap(NULL, STACKS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (file == MAP_FAILED)
		abort();
	stacks = stacks_at(file);
	return atexit(remove_all);
}

/* As a program has left it that is over: four sites in two modules, and one of an interpreter. */
static void draw(void)
{
	static const char texts[] = "\0script.py\0main\0";
	struct stacks_header *h = stacks.header;

	memset(h, 0, sizeof(*h));
	memset(stacks.module, 0, 4 * sizeof(*stacks.module));
	memset(stacks.site, 0, 8 * sizeof(*stacks.site));
	memset(stacks.frame, 0, 4096);
	memset(stacks.text, 0, 4096);
	memcpy(stacks.text, texts, sizeof(texts));
	for (unsigned i = 0; i < 2; i++) {
		stacks.module[i].start = 0x10000 * (i + 1);
		stacks.module[i].end = stacks.module[i].start + 0x8000;
		stacks.module[i].bias = stacks.module[i].start;
		(void)strcpy(stacks.module[i].path, i ? "/bin/true" : "/nowhere");
	}
	for (unsigned i = 0; i < SITES; i++) {
		stacks.site[i].first = i;
		stacks.site[i].frames = 2;
		stacks.site[i].live_bytes = stacks.site[i].bytes = 4096;
		stacks.site[i].live_count = stacks.site[i].count = STACKS_COUNT_ONE;
		stacks.frame[i] = i == 3 ? STACKS_FRAME_TEXT | 7ull << 32 | 1 : 0x10000ull * (i % 2 + 1) + 0x1234;
	}
	h->magic = STACKS_MAGIC;
	h->version = STACKS_VERSION;
	h->size = STACKS_SIZE;
	h->pid = 1;
	h->ended = 1;
	h->modules = 2;
	h->sites = SITES;
	h->texts = sizeof(texts);
	h->frames = SITES + 1;
	(void)strcpy(h->group, "/a");
}

static void damage(const struct fuzz_damage *d)
{
	switch (d->where % 5) {
	case 0:
		fuzz_damage_in(stacks.header, sizeof(*stacks.header), d);
		break;
	case 1:
		fuzz_damage_in(stacks.module, 4 * sizeof(*stacks.module), d);
		break;
	case 2:
		fuzz_damage_in(stacks.site, 8 * sizeof(*stacks.site), d);
		break;
	case 3:
		fuzz_damage_in(stacks.frame, 4096, d);
		break;
	default:
		fuzz_damage_in(stacks.text, 4096, d);
	}
}

static const char *where(uint32_t pid, void *arg)
{
	(void)pid, (void)arg;
	return NULL;
}

static void show(struct profile *p)
{
	static const char *const format[] = { "text", "folded", "json", "pprof", "svg" };
	struct profile_look look = { .by = profile_resolve(p, PROFILE_BY_AUTO), .width = 80 };

	profile_sort(p, look.by);
	for (unsigned i = 0; i < 5; i++)
		profile_format(format[i])(p, &look, nowhere);
	profile_free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct profile_wish wish = { .dir = dir, .group = "/", .where = where };
	struct fuzz_damage d;
	struct profile *p;

	draw();
	while (fuzz_next_damage(&data, &size, &d))
		damage(&d);
	p = profile_read("profile", &wish);
	if (p)
		show(p);
	return 0;
}
