/* SPDX-License-Identifier: MIT */
/* How a frame is left, as .eh_frame has it: of the whole of DWARF what compilers emit for functions that call. */
#ifndef PRELOAD_UNWIND_RULES_H
#define PRELOAD_UNWIND_RULES_H

#include <stdbool.h>
#include <stdint.h>

enum unwind_base {
	UNWIND_NOTHING, /* not known */
	UNWIND_SP,	/* the frame begins at sp + offset */
	UNWIND_FP,
	UNWIND_FP_MEMORY, /* at what lies at fp + offset */
	UNWIND_SIGNAL,	  /* sp points to what the kernel saved */
	UNWIND_END,	  /* nobody called it */
};

/* The return address lies right below the frame's beginning, except for signals. */
struct unwind_step {
	enum unwind_base base;
	int32_t offset;
	bool fp_saved;	   /* the caller's fp lies at ... */
	int32_t fp_offset; /* ... the frame's beginning + this; otherwise it is unchanged */
};

/* The rule for `pc`, from the .eh_frame_hdr at `header` (in a file mapped at [start, end)). False: there is none,
 * or none that can be expressed. */
bool unwind_rules_find(const void *header, uint64_t start, uint64_t end, uint64_t pc, struct unwind_step *ret);

#endif
