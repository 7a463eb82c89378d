/* SPDX-License-Identifier: MIT */
/* Walking up the calling thread's stack. */
#include "preload/unwind.h"

#include "accounting/sys.h"
#include "preload/unwind_rules.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>

#if defined(__x86_64__) && defined(DLFO_STRUCT_HAS_EH_DBASE)
#define CAN_UNWIND 1
#pragma weak _dl_find_object
extern void *__libc_stack_end __attribute__((weak)); /* the dynamic linker is no library to ask for */
#else
#define CAN_UNWIND 0
#endif

bool unwind_is_possible(void)
{
#if CAN_UNWIND
	return _dl_find_object != NULL && &__libc_stack_end != NULL;
#else
	return false;
#endif
}

void unwind_forget(struct unwind_cache *cache)
{
	for (unsigned i = 0; i < UNWIND_CACHE; i++)
		mc_store_relaxed(&cache->rule[i].check, 0);
}

#if CAN_UNWIND

#define ADDRESS_STRUCK (1ull << 62)
#define JUMP_MAX (1ull << 26)	/* a frame is not larger */
#define JUMP_PLAIN (1ull << 16) /* memory is looked at before a larger one is believed */
#define STACK_MAX (1ull << 30)

/* Where the kernel saves what a signal interrupts: from the struct ucontext sp points to. */
enum { UCONTEXT_FP = 120, UCONTEXT_SP = 160, UCONTEXT_PC = 168 };

struct walk {
	struct unwind_cache *cache;
	uint64_t pc, sp, fp;
	uint64_t top; /* no frame lies above */
	bool struck;  /* pc is where a signal struck */
	unwind_module_fn module;
	void *arg;
};

/* ---- rules, remembered ----------------------------------------------------------------------------------- */

/* base 3 bits, fp_saved 1, offset 30, fp_offset 30; both offsets are multiples of nothing but fit. */
static uint64_t pack(const struct unwind_step *s)
{
	return (uint64_t)s->base | (uint64_t)s->fp_saved << 3 | ((uint64_t)(uint32_t)s->offset & 0x3fffffff) << 4 |
	       ((uint64_t)(uint32_t)s->fp_offset & 0x3fffffff) << 34;
}

static int32_t sign_of_30(uint64_t bits)
{
	return (int32_t)(((int64_t)(bits << 34)) >> 34);
}

static void unpack(uint64_t data, struct unwind_step *s)
{
	s->base = (enum unwind_base)(data & 7);
	s->fp_saved = (data >> 3 & 1) != 0;
	s->offset = sign_of_30(data >> 4 & 0x3fffffff);
	s->fp_offset = sign_of_30(data >> 34 & 0x3fffffff);
}

static bool fits(int32_t offset)
{
	return offset >= -(1 << 29) && offset < 1 << 29;
}

static struct unwind_rule *slot_of(struct unwind_cache *cache, uint64_t pc)
{
	return &cache->rule[(pc * 0x9e3779b97f4a7c15ull) >> 52];
}

static void find(const struct walk *w, uint64_t pc, struct unwind_step *ret)
{
	struct dl_find_object found;

	*ret = (struct unwind_step){ .base = UNWIND_NOTHING };
	if (_dl_find_object((void *)pc, &found) != 0)
		return;
	if (w->module)
		w->module((uint64_t)found.dlfo_map_start, (uint64_t)found.dlfo_map_end, found.dlfo_link_map->l_addr,
			  found.dlfo_link_map->l_name, w->arg);
	if (!found.dlfo_eh_frame ||
	    !unwind_rules_find(found.dlfo_eh_frame, (uint64_t)found.dlfo_map_start, (uint64_t)found.dlfo_map_end, pc,
			       ret) ||
	    !fits(ret->offset) || !fits(ret->fp_offset))
		*ret = (struct unwind_step){ .base = UNWIND_NOTHING };
}

static void find_remembered(const struct walk *w, uint64_t pc, struct unwind_step *ret)
{
	struct unwind_rule *slot;
	uint64_t data;

	if (!w->cache) {
		find(w, pc, ret);
		return;
	}
	slot = slot_of(w->cache, pc);
	data = mc_load_relaxed(&slot->data);
	if (__builtin_expect((mc_load_relaxed(&slot->check) ^ data) == pc, 1)) {
		unpack(data, ret);
		return;
	}
	find(w, pc, ret);
	data = pack(ret);
	mc_store_relaxed(&slot->check, pc ^ data);
	mc_store_relaxed(&slot->data, data);
}

/* ---- steps ---------------------------------------------------------------------------------------------- */

static bool is_mapped(uint64_t address)
{
	unsigned char vector;

	return sys_call3(SYS_mincore, address & ~4095ull, 1, &vector) == 0;
}

/* True when a frame may end at `to`, and 8 bytes below it may be read. */
static bool is_above(const struct walk *w, uint64_t to)
{
	if (to <= w->sp || to > w->top || to & 7)
		return false;
	if (to - w->sp <= JUMP_PLAIN)
		return true;
	return to - w->sp <= JUMP_MAX && is_mapped(to - 8);
}

static uint64_t word_at(uint64_t address)
{
	uint64_t value;

	memcpy(&value, (const void *)address, sizeof(value)); /* NOLINT: an address of the stack */
	return value;
}

static bool leave_signal(struct walk *w)
{
	uint64_t saved = w->sp;

	if (saved & 7 || saved + UCONTEXT_PC + 8 > w->top)
		return false;
	w->fp = word_at(saved + UCONTEXT_FP);
	w->pc = word_at(saved + UCONTEXT_PC);
	w->sp = word_at(saved + UCONTEXT_SP);
	w->struck = true;
	return w->pc != 0;
}

/* The frame's beginning; 0: not known. */
static uint64_t beginning(const struct walk *w, const struct unwind_step *s)
{
	switch (s->base) {
	case UNWIND_SP:
		return w->sp + (uint64_t)(int64_t)s->offset;
	case UNWIND_FP:
		return w->fp + (uint64_t)(int64_t)s->offset;
	case UNWIND_FP_MEMORY: {
		uint64_t at = w->fp + (uint64_t)(int64_t)s->offset;

		return is_above(w, at + 8) ? word_at(at) : 0;
	}
	default:
		return 0;
	}
}

/* Code without a description, made at run time most likely. */
static bool leave_by_frame_pointer(struct walk *w)
{
	uint64_t begin = w->fp + 16;

	if (w->fp < w->sp || !is_above(w, begin) || !is_mapped(w->fp))
		return false;
	w->pc = word_at(begin - 8);
	w->fp = word_at(begin - 16);
	w->sp = begin;
	w->struck = false;
	return w->pc > 4096;
}

enum step { STEP_ON, STEP_END, STEP_LOST };

static enum step leave(struct walk *w)
{
	struct unwind_step s;
	uint64_t begin;

	find_remembered(w, w->struck ? w->pc : w->pc - 1, &s);
	if (s.base == UNWIND_END)
		return STEP_END;
	if (s.base == UNWIND_SIGNAL)
		return leave_signal(w) ? STEP_ON : STEP_LOST;
	if (s.base == UNWIND_NOTHING)
		return leave_by_frame_pointer(w) ? STEP_ON : STEP_LOST;
	begin = beginning(w, &s);
	if (!is_above(w, begin))
		return STEP_LOST;
	w->pc = word_at(begin - 8);
	if (s.fp_saved) {
		uint64_t at = begin + (uint64_t)(int64_t)s.fp_offset;

		if (at < w->sp || at + 8 > begin)
			return STEP_LOST;
		w->fp = word_at(at);
	}
	w->sp = begin;
	w->struck = false;
	return w->pc == 0 ? STEP_END : STEP_ON;
}

/* The main thread's stack ends where the program's arguments begin; another's below its own block. */
static uint64_t top_of_stack(uint64_t sp)
{
	uint64_t main_end = (uint64_t)__libc_stack_end;
	uint64_t own_block = (uint64_t)__builtin_thread_pointer();

	if (sp < main_end && main_end - sp < STACK_MAX)
		return main_end;
	return sp < own_block ? own_block : ~0ull - 4096;
}

struct unwind_result unwind_walk(struct unwind_cache *cache, const struct unwind_registers *from, uint64_t skip_start,
				 uint64_t skip_end, uint64_t *frame, unsigned max, unwind_module_fn module, void *arg)
{
	struct walk w = { .cache = cache,
			  .pc = from->pc,
			  .sp = from->sp,
			  .fp = from->fp,
			  .top = top_of_stack(from->sp),
			  .struck = true,
			  .module = module,
			  .arg = arg };
	struct unwind_result result = { 0 };
	bool skipping = true;
	enum step step;

	while ((step = leave(&w)) == STEP_ON) {
		skipping &= w.pc - skip_start < skip_end - skip_start;
		if (skipping)
			continue;
		if (result.frames == max)
			break;
		frame[result.frames++] = w.pc | (w.struck ? ADDRESS_STRUCK : 0);
	}
	result.cut = step != STEP_END;
	return result;
}

#else

struct unwind_result unwind_walk(struct unwind_cache *cache, const struct unwind_registers *from, uint64_t skip_start,
				 uint64_t skip_end, uint64_t *frame, unsigned max, unwind_module_fn module, void *arg)
{
	(void)cache, (void)from, (void)skip_start, (void)skip_end, (void)frame, (void)max, (void)module, (void)arg;
	return (struct unwind_result){ .cut = true };
}

#endif
