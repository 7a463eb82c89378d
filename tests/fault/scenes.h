/* SPDX-License-Identifier: MIT */
/* A preloaded program that does one thing, killed and stopped before every single instruction of a
 * library of ours.
 *
 *   PROGRAM              some thousand trials (make check)
 *   PROGRAM all [SCENE]  every trial at every instruction (make check-long)
 *
 * The program starts itself again under the preload libraries and plays one scene under single step
 * (stepping.h). Tried are the instructions of the library's file; those of libc, the program and
 * the dynamic linker only move the process on, for they do not touch the segment.
 *
 * A copy of a process has another pid, which matters to nobody but to exec and to the orderly end:
 * there copies are killed only. A forked child is stepped from its first instruction.
 *
 * Some more are killed at instructions taken at random, without copies, as members of a real
 * memctld, which has to settle them.
 */
#ifndef TESTS_FAULT_SCENES_H
#define TESTS_FAULT_SCENES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* LOOKING: at statm; a copy made while that is open reads the number of whom it was copied from.
 * KEPT: there is no room but what the tracer, its ancestor, keeps for it. KILLS_ONLY: also where
 * something is mapped on the way that the kernel does not give to copies. */
enum scene_way { SCENE_STRAIGHT, SCENE_LOOKING, SCENE_MOVED, SCENE_KEPT, SCENE_INTO_CHILD, SCENE_KILLS_ONLY };

struct scene {
	const char *name;
	const char *sentence;
	void (*prepare)(void); /* whatever is done once is done there */
	void (*play)(void);
	bool is_tight; /* there is no room for it */
	enum scene_way way;
	uint64_t instructions; /* about; 0: they are counted */
	bool ends;	       /* by exit */
};

struct scenery {
	const struct scene *scene;
	size_t n;
	const char *library; /* whose instructions are tried: part of its file's name */
	const char *also;    /* and those of this one in scenes that end; may be NULL */
	const char *region;  /* what is charged is a device's memory of this name; NULL: memory, in
				both modes */
	unsigned trials;     /* in check, of one scene in one mode */
};

#define SCENE_NOTHING "nothing" /* a scene that is at its end: what an exec becomes */

/* A program's main, for its second life and its first. `prepare` makes the environment of the
 * second one. */
int scenes_main(int argc, char *argv[], const struct scenery *s, void (*prepare)(void));

#endif
