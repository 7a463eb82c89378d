/* SPDX-License-Identifier: MIT */
/* What the preload library offers to a program that cooperates. libmemctl finds it by name where it is preloaded; programs
 * see it as memctl_self_usage and its kin (memctl/memctl.h has the contract). */
#ifndef ACCOUNTING_COOPERATE_H
#define ACCOUNTING_COOPERATE_H

#include <stddef.h>
#include <stdint.h>

#define COOPERATE_SYMBOL "memctl_cooperate"
#define COOPERATE_VERSION 4u

/* Bytes. What has no limit is UINT64_MAX. */
struct cooperate_usage {
	uint64_t held, unused, current, max, room;
};

/* The device library's: gives memory of these regions back (a bit for each resource), so many units of it; returns how
 * many it gave. Called in a thread of the preload library's own, with all signals blocked. */
typedef uint64_t cooperate_device_function(uint32_t regions, uint64_t units);

/* Functions are added at the end, with a higher version. All may be called where the process is no member: then they do
 * nothing and answer 0. Negative errno. */
struct cooperate {
	uint32_t version;
	void (*usage)(struct cooperate_usage *ret);
	int (*shrinker_register)(uint64_t (*function)(void *arg, uint64_t bytes), void *arg);
	void (*shrinker_unregister)(uint64_t (*function)(void *arg, uint64_t bytes), void *arg);
	int (*mark_volatile)(void *addr, size_t size);
	int (*unmark_volatile)(void *addr, size_t size);
	int (*charge)(const char *resource, uint64_t bytes);
	int (*uncharge)(const char *resource, uint64_t bytes);
	void (*devices_offer)(
		cooperate_device_function *function); /* from 2 on; not under locks of the heap, nor in handlers */
	/* From 3 on: the device library's memory by a name of its choice, for call sites; frames in [skip, skip_end) are not
	 * the program's. */
	void (*device_got)(uint64_t name, uint64_t bytes, const void *skip, const void *skip_end);
	void (*device_ended)(uint64_t name);
	const char *(*shrinking)(void); /* from 4 on */
};

#endif
