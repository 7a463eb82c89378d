/* SPDX-License-Identifier: MIT */
/*
 * The lines of a Python program on a stack: CPython 3.8 to 3.13, read from its own structures.
 *
 * contract      called in malloc or mmap, any thread. Frames are read only while the calling thread holds the
 *               interpreter's lock, so nobody changes them. Takes no lock and no reference, allocates nothing, calls
 *               one function of the interpreter (which reads one word).
 * distrust      the first frame is read through the kernel and must look like one: an interpreter built in another
 *               way is left alone, never followed into nowhere.
 */
#ifndef PRELOAD_INTERPRETER_H
#define PRELOAD_INTERPRETER_H

#include "preload/stacks.h"

#define INTERPRETER_DEPTH 64u
#define INTERPRETER_CODES 8192u

/* Code that was seen, and its text. key ^ check is text: a torn pair fits no key. */
struct interpreter_code {
	mc_word check, text; /* sync: relaxed; validated together */
};

/* This process's; zeroed: none found, nothing seen. */
struct interpreter {
	mc_word32 trust; /* 0: not looked at yet, 1: it is as expected, 2: it is not */
	struct interpreter_code code[INTERPRETER_CODES];
};

/* A file was found on a stack: is it the interpreter? */
void interpreter_look(uint64_t start, uint64_t end, uint64_t bias);

/* Appends the calling thread's Python frames, the innermost first, as texts; how many. */
unsigned interpreter_walk(struct interpreter *i, struct stacks_writer *w, uint64_t *frame, unsigned max);

#endif
