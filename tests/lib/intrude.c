/* SPDX-License-Identifier: MIT */
/* Somebody else at the worst moment. */
#include "tests/lib/intrude.h"

#include "tests/lib/ground.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

static void *page; /* protected now */
static void (*run)(void *);
static void *run_arg;

static void lift(void)
{
	if (page && mprotect(page, 4096, PROT_READ | PROT_WRITE))
		ground_bail("mprotect");
	page = NULL;
}

static void at_fault(int sig, siginfo_t *info, void *context)
{
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	if (!page || at < (uintptr_t)page || at >= (uintptr_t)page + 4096) {
		signal(sig, SIG_DFL); /* a fault of the code itself */
		return;
	}
	lift();
	run(run_arg);
}

void intrude_before_write(const void *at, void (*intruder)(void *), void *arg)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = at_fault;
	action.sa_flags = SA_SIGINFO | SA_NODEFER;
	sigaction(SIGSEGV, &action, NULL);
	lift();
	run = intruder;
	run_arg = arg;
	page = (void *)((uintptr_t)at & ~(uintptr_t)4095);
	if (mprotect(page, 4096, PROT_READ))
		ground_bail("mprotect");
}

bool intrude_has_run(void)
{
	bool has = page == NULL;

	lift();
	return has;
}
