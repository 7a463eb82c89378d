/* SPDX-License-Identifier: MIT */
/* Named steps of the protocol, at which tests stop or kill a process. Nothing in a normal build. */
#ifndef ACCOUNTING_STEP_H
#define ACCOUNTING_STEP_H

#ifdef ACCOUNTING_STEPS
extern void (*step_hook)(const char *name);
#define STEP(name) \
	do { \
		if (step_hook) \
			step_hook(#name); \
	} while (0)
#else
#define STEP(name) ((void)0)
#endif

#endif
