/* SPDX-License-Identifier: MIT */
/*
 * The picture of one process: where its memory was asked for. A file of its own beside the segment, written by the
 * process while it runs (preload/stacks.h), read by `memctl profile` at any time, also when the process was killed.
 *
 * layout        header, modules, sites, frames, texts: areas of fixed size in a sparse file; each but the header is
 *               filled from its beginning and never changed again, counters apart.
 * contract      one writing process, any number of its threads; readers map it read-only and trust nothing in it:
 *               every number is checked against the areas (stacks_check). A slot is visible when its count is.
 * bounds        STACKS_SIZE bytes a process, STACKS_FILES files a directory: the oldest of a process that has ended
 *               makes room.
 */
#ifndef ACCOUNTING_STACKS_H
#define ACCOUNTING_STACKS_H

#include "accounting/atomic.h"

#include <stddef.h>

#define STACKS_MAGIC 0x6d63737461636b31ull /* "mcstack1" */
#define STACKS_VERSION 2u
#define STACKS_DIRECTORY "profile" /* in the runtime directory; holds "index" and the files 0, 1, ... */
#define STACKS_FILES 512u

#define STACKS_MODULES 256u
#define STACKS_SITES 16384u
#define STACKS_FRAMES (1u << 19)
#define STACKS_TEXTS (1u << 20)
#define STACKS_DEPTH 192u     /* frames of one stack at most: the innermost 128, and 64 of an interpreter */
#define STACKS_COUNT_ONE 256u /* counts are estimates: in 1/256 */

enum stacks_kind {
	STACKS_HEAP,
	STACKS_MAP,
	STACKS_DEVICE,
	STACKS_KINDS,
};

/* A frame: a return address (or, of the innermost frame of a signal, the address itself), or a line of an
 * interpreter: a text and a line number. */
#define STACKS_FRAME_TEXT (1ull << 63)
#define STACKS_FRAME_ENTRY (1ull << 62) /* text: entered from native code; native: not a return address */
#define STACKS_FRAME_ADDRESS (STACKS_FRAME_ENTRY - 1)
#define stacks_frame_text(f) ((uint32_t)((f)&0xffffffffu))
#define stacks_frame_line(f) ((uint32_t)((f) >> 32) & 0x3fffffffu)

/* A file that was mapped when a stack went through it. */
struct stacks_module {
	uint64_t start, end; /* addresses */
	uint64_t bias;	     /* address minus the file's own */
	uint32_t since;	 /* sites from this number on are of this module, if another one had these addresses before */
	uint8_t id_size; /* of the build id; 0: none */
	uint8_t id[20];
	char path[323];
};

struct stacks_site {
	uint32_t first; /* frame */
	uint16_t frames;
	uint8_t kind; /* enum stacks_kind */
	uint8_t cut;  /* the stack was deeper, or could not be followed to its end */
	/* sync: relaxed. Estimates of what was asked for: what is live now, and all that ever was. */
	mc_word live_bytes, live_count;
	mc_word bytes, count;
	mc_word peak_bytes, peak_count;		  /* live when the process had most */
	mc_word live_spread, spread, peak_spread; /* variances of the sums of bytes, in 65536 bytes^2 */
	mc_word32 samples, live_samples;
};

struct stacks_header {
	uint64_t magic; /* sync: release, last of all */
	uint32_t version;
	uint32_t size;
	uint32_t pid;
	uint32_t ended; /* by itself; sync: relaxed */
	uint64_t start_time;
	uint64_t opened_ns;		 /* CLOCK_MONOTONIC */
	uint64_t rate;			 /* bytes between two samples on average, at most */
	uint64_t finest;		 /* and at least */
	mc_word32 modules, sites, texts; /* sync: release; how many, how many bytes of texts */
	mc_word32 frames;		 /* sync: relaxed; reserved */
	mc_word live, peak;		 /* sync: relaxed; sums of the sites' live_bytes and peak_bytes */
	mc_word lost;			 /* bytes of samples that found no room; site 0 has them */
	mc_word untold;			 /* mappings that could not be followed */
	uint32_t no_heap;		 /* the program has another malloc: heap is not sampled */
	char comm[16];
	char exe[256];
	char group[1200];
};

#define STACKS_AREA(n) (((n) + 4095u) & ~4095u)
#define STACKS_MODULES_AT STACKS_AREA((uint32_t)sizeof(struct stacks_header))
#define STACKS_SITES_AT (STACKS_MODULES_AT + STACKS_AREA(STACKS_MODULES * (uint32_t)sizeof(struct stacks_module)))
#define STACKS_FRAMES_AT (STACKS_SITES_AT + STACKS_AREA(STACKS_SITES * (uint32_t)sizeof(struct stacks_site)))
#define STACKS_TEXTS_AT (STACKS_FRAMES_AT + STACKS_FRAMES * 8u)
#define STACKS_SIZE (STACKS_TEXTS_AT + STACKS_TEXTS)

/* The mapped file as its areas. */
struct stacks {
	struct stacks_header *header;
	struct stacks_module *module;
	struct stacks_site *site; /* 0: what found no room */
	uint64_t *frame;
	char *text; /* "file\0function\0" each; offset 0 is empty */
};

static inline struct stacks stacks_at(void *file)
{
	char *p = file;

	return (struct stacks){
		.header = (void *)p,
		.module = (void *)(p + STACKS_MODULES_AT),
		.site = (void *)(p + STACKS_SITES_AT),
		.frame = (void *)(p + STACKS_FRAMES_AT),
		.text = p + STACKS_TEXTS_AT,
	};
}

_Static_assert(sizeof(struct stacks_module) == 376, "the layout is shared");
_Static_assert(sizeof(struct stacks_site) == 88, "the layout is shared");

#endif
