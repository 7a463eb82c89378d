/* SPDX-License-Identifier: MIT */
/* Reading .eh_frame: header table -> description of a function -> its rule at one address. */
#include "preload/unwind_rules.h"

#include <stddef.h>
#include <string.h>

/* DWARF's numbers of registers on x86-64. */
enum { REG_FP = 6, REG_SP = 7, REG_RA = 16 };

enum {
	ENC_OMIT = 0xff,
	ENC_PCREL_SDATA4 = 0x1b,
	ENC_DATAREL_SDATA4 = 0x3b,
	ENC_UDATA4 = 0x03,
};

enum {
	CFA_NOP = 0x00,
	CFA_SET_LOC = 0x01,
	CFA_ADVANCE1 = 0x02,
	CFA_ADVANCE2 = 0x03,
	CFA_ADVANCE4 = 0x04,
	CFA_OFFSET_EXTENDED = 0x05,
	CFA_RESTORE_EXTENDED = 0x06,
	CFA_UNDEFINED = 0x07,
	CFA_SAME_VALUE = 0x08,
	CFA_REGISTER = 0x09,
	CFA_REMEMBER = 0x0a,
	CFA_RESTORE_STATE = 0x0b,
	CFA_DEF_CFA = 0x0c,
	CFA_DEF_CFA_REGISTER = 0x0d,
	CFA_DEF_CFA_OFFSET = 0x0e,
	CFA_DEF_CFA_EXPRESSION = 0x0f,
	CFA_EXPRESSION = 0x10,
	CFA_OFFSET_EXTENDED_SF = 0x11,
	CFA_DEF_CFA_SF = 0x12,
	CFA_DEF_CFA_OFFSET_SF = 0x13,
	CFA_VAL_OFFSET = 0x14,
	CFA_VAL_OFFSET_SF = 0x15,
	CFA_VAL_EXPRESSION = 0x16,
	CFA_GNU_ARGS_SIZE = 0x2e,
	CFA_ADVANCE = 0x40,
	CFA_OFFSET = 0x80,
	CFA_RESTORE = 0xc0,
};

enum { OP_DEREF = 0x06, OP_BREG_FP = 0x76, OP_BREG_SP = 0x77 };

/* A place in the section; never read past `end`. */
struct cursor {
	const uint8_t *at, *end;
	bool bad;
};

/* What one register's rule is. */
enum saved { SAVED_NOT, SAVED_AT, SAVED_UNKNOWN, SAVED_UNDEFINED };

struct row {
	enum unwind_base base;
	int64_t offset;
	enum saved fp, ra;
	int64_t fp_offset, ra_offset;
};

#define STATES_MAX 8

struct table {
	struct row row, initial, state[STATES_MAX];
	unsigned states;
	uint64_t loc;
	uint64_t code_align;
	int64_t data_align;
	bool is_signal;
	bool bad;
};

static uint64_t read_bytes(struct cursor *c, unsigned n)
{
	uint64_t value = 0;

	if (c->bad || (size_t)(c->end - c->at) < n) {
		c->bad = true;
		return 0;
	}
	memcpy(&value, c->at, n);
	c->at += n;
	return value;
}

/* The bits as they come; the last byte, and how many bits there were. */
static uint64_t read_leb(struct cursor *c, uint8_t *ret_last, unsigned *ret_bits)
{
	uint64_t value = 0;
	unsigned shift = 0;
	uint8_t byte;

	do {
		byte = (uint8_t)read_bytes(c, 1);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
	} while (byte & 0x80 && !c->bad);
	*ret_last = byte;
	*ret_bits = shift;
	return value;
}

static uint64_t read_uleb(struct cursor *c)
{
	unsigned bits;
	uint8_t last;

	return read_leb(c, &last, &bits);
}

static int64_t read_sleb(struct cursor *c)
{
	unsigned bits;
	uint8_t last;
	uint64_t value = read_leb(c, &last, &bits);

	if (last & 0x40 && bits < 64)
		value |= ~0ull << bits;
	return (int64_t)value;
}

/* An offset as the description has it: it may be any number. */
static int64_t scaled(const struct table *t, uint64_t offset)
{
	return (int64_t)(offset * (uint64_t)t->data_align);
}

static void skip(struct cursor *c, uint64_t n)
{
	if (n > (size_t)(c->end - c->at))
		c->bad = true;
	else
		c->at += n;
}

/* ---- expressions ---------------------------------------------------------------------------------------- */

/* Only "what lies at fp + n" (a function that aligns its stack) can be expressed. */
static void define_by_expression(struct table *t, struct cursor *c)
{
	uint64_t n = read_uleb(c);
	struct cursor e = { .at = c->at };

	skip(c, n);
	e.end = c->at;
	t->row.base = UNWIND_NOTHING;
	if (c->bad || read_bytes(&e, 1) != OP_BREG_FP)
		return;
	t->row.offset = read_sleb(&e);
	if (read_bytes(&e, 1) == OP_DEREF && !e.bad && e.at == e.end)
		t->row.base = UNWIND_FP_MEMORY;
}

/* ---- instructions --------------------------------------------------------------------------------------- */

static void set_saved(struct row *row, uint64_t reg, enum saved saved, int64_t offset)
{
	if (reg == REG_FP) {
		row->fp = saved;
		row->fp_offset = offset;
	} else if (reg == REG_RA) {
		row->ra = saved;
		row->ra_offset = offset;
	}
}

static void restore(struct table *t, uint64_t reg)
{
	if (reg == REG_FP)
		set_saved(&t->row, reg, t->initial.fp, t->initial.fp_offset);
	else if (reg == REG_RA)
		set_saved(&t->row, reg, t->initial.ra, t->initial.ra_offset);
}

static void define(struct table *t, uint64_t reg, int64_t offset)
{
	t->row.base = reg == REG_SP ? UNWIND_SP : reg == REG_FP ? UNWIND_FP : UNWIND_NOTHING;
	t->row.offset = offset;
}

static void define_register(struct table *t, uint64_t reg)
{
	define(t, reg, t->row.offset);
}

static void push_state(struct table *t)
{
	if (t->states == STATES_MAX)
		t->bad = true;
	else
		t->state[t->states++] = t->row;
}

static void pop_state(struct table *t)
{
	if (t->states == 0)
		t->bad = true;
	else
		t->row = t->state[--t->states];
}

static void run_extended(struct table *t, struct cursor *c, uint8_t op)
{
	uint64_t reg = read_uleb(c);

	switch (op) {
	case CFA_OFFSET_EXTENDED:
		set_saved(&t->row, reg, SAVED_AT, scaled(t, read_uleb(c)));
		break;
	case CFA_OFFSET_EXTENDED_SF:
		set_saved(&t->row, reg, SAVED_AT, scaled(t, (uint64_t)read_sleb(c)));
		break;
	case CFA_RESTORE_EXTENDED:
		restore(t, reg);
		break;
	case CFA_UNDEFINED:
		set_saved(&t->row, reg, SAVED_UNDEFINED, 0);
		break;
	case CFA_SAME_VALUE:
		set_saved(&t->row, reg, SAVED_NOT, 0);
		break;
	case CFA_DEF_CFA:
		define(t, reg, (int64_t)read_uleb(c));
		break;
	case CFA_DEF_CFA_SF:
		define(t, reg, scaled(t, (uint64_t)read_sleb(c)));
		break;
	case CFA_DEF_CFA_REGISTER:
		define_register(t, reg);
		break;
	case CFA_EXPRESSION:
	case CFA_VAL_EXPRESSION:
		set_saved(&t->row, reg, SAVED_UNKNOWN, 0);
		skip(c, read_uleb(c));
		break;
	default: /* CFA_REGISTER, CFA_VAL_OFFSET and its signed form: one operand more */
		set_saved(&t->row, reg, SAVED_UNKNOWN, 0);
		(void)read_uleb(c);
	}
}

static void run_other(struct table *t, struct cursor *c, uint8_t op)
{
	switch (op) {
	case CFA_NOP:
		break;
	case CFA_ADVANCE1:
		t->loc += read_bytes(c, 1) * t->code_align;
		break;
	case CFA_ADVANCE2:
		t->loc += read_bytes(c, 2) * t->code_align;
		break;
	case CFA_ADVANCE4:
		t->loc += read_bytes(c, 4) * t->code_align;
		break;
	case CFA_REMEMBER:
		push_state(t);
		break;
	case CFA_RESTORE_STATE:
		pop_state(t);
		break;
	case CFA_DEF_CFA_OFFSET:
		t->row.offset = (int64_t)read_uleb(c);
		break;
	case CFA_DEF_CFA_OFFSET_SF:
		t->row.offset = scaled(t, (uint64_t)read_sleb(c));
		break;
	case CFA_DEF_CFA_EXPRESSION:
		define_by_expression(t, c);
		break;
	case CFA_GNU_ARGS_SIZE:
		(void)read_uleb(c);
		break;
	case CFA_SET_LOC:
		t->bad = true;
		break;
	default:
		if ((op >= CFA_OFFSET_EXTENDED && op <= CFA_REGISTER) || op == CFA_DEF_CFA ||
		    op == CFA_DEF_CFA_REGISTER || (op >= CFA_EXPRESSION && op <= CFA_VAL_EXPRESSION))
			run_extended(t, c, op);
		else
			t->bad = true;
	}
}

/* Up to the row that holds at `pc`. */
static void run(struct table *t, struct cursor c, uint64_t pc)
{
	while (c.at < c.end && !c.bad && !t->bad) {
		uint8_t op = (uint8_t)read_bytes(&c, 1);

		switch (op & 0xc0) {
		case CFA_ADVANCE:
			t->loc += (op & 0x3f) * t->code_align;
			break;
		case CFA_OFFSET:
			set_saved(&t->row, op & 0x3f, SAVED_AT, scaled(t, read_uleb(&c)));
			break;
		case CFA_RESTORE:
			restore(t, op & 0x3f);
			break;
		default:
			run_other(t, &c, op);
		}
		if (t->loc > pc)
			return;
	}
	t->bad |= c.bad;
}

/* ---- descriptions --------------------------------------------------------------------------------------- */

/* What all functions of one kind begin with. False: nothing we can read. */
static bool read_common(const uint8_t *at, const uint8_t *end, struct table *t, uint8_t *ret_encoding)
{
	struct cursor c = { .at = at, .end = end };
	uint64_t size = read_bytes(&c, 4);
	const char *augmentation;
	const uint8_t *data;

	if (c.bad || size == 0xffffffff || size > (size_t)(c.end - c.at))
		return false;
	c.end = c.at + size;
	if (read_bytes(&c, 4) != 0 || (read_bytes(&c, 1) & ~2ull) != 1)
		return false;
	augmentation = (const char *)c.at;
	while (read_bytes(&c, 1) != 0)
		;
	t->code_align = read_uleb(&c);
	t->data_align = read_sleb(&c);
	if (read_uleb(&c) != REG_RA || *augmentation++ != 'z' || c.bad)
		return false;
	size = read_uleb(&c);
	data = c.at;
	skip(&c, size);
	for (struct cursor d = { .at = data, .end = c.at }; *augmentation && !d.bad; augmentation++)
		switch (*augmentation) {
		case 'R':
			*ret_encoding = (uint8_t)read_bytes(&d, 1);
			break;
		case 'L':
			(void)read_bytes(&d, 1);
			break;
		case 'P': /* an address in some encoding: 4 bytes, or 8 */
			skip(&d, (read_bytes(&d, 1) & 0x0f) == 0x00 ? 8 : 4);
			break;
		case 'S':
			t->is_signal = true;
			break;
		default:
			return false;
		}
	if (c.bad)
		return false;
	run(t, c, ~0ull);
	t->initial = t->row;
	return !t->bad;
}

static bool express(const struct table *t, struct unwind_step *ret)
{
	const struct row *row = &t->row;

	*ret = (struct unwind_step){ .base = row->base, .offset = (int32_t)row->offset };
	if (t->is_signal) {
		ret->base = UNWIND_SIGNAL;
		return true;
	}
	if (row->ra == SAVED_UNDEFINED) {
		ret->base = UNWIND_END;
		return true;
	}
	ret->fp_saved = row->fp == SAVED_AT;
	ret->fp_offset = (int32_t)row->fp_offset;
	return row->base != UNWIND_NOTHING && row->fp != SAVED_UNKNOWN && row->ra == SAVED_AT && row->ra_offset == -8 &&
	       row->offset == ret->offset && (!ret->fp_saved || row->fp_offset == ret->fp_offset);
}

/* The function described at `at`. */
static bool read_description(const uint8_t *at, const uint8_t *start, const uint8_t *end, uint64_t pc,
			     struct unwind_step *ret)
{
	struct cursor c = { .at = at, .end = end };
	uint64_t size = read_bytes(&c, 4);
	const uint8_t *here = c.at;
	struct table t = { .row = { .base = UNWIND_NOTHING } };
	uint8_t encoding = 0;
	int64_t common;
	uint64_t first;

	if (c.bad || size == 0xffffffff || size > (size_t)(c.end - c.at))
		return false;
	c.end = c.at + size;
	common = (int32_t)read_bytes(&c, 4);
	if (common <= 0 || here - start < common || !read_common(here - common, end, &t, &encoding) ||
	    encoding != ENC_PCREL_SDATA4)
		return false;
	first = (uint64_t)c.at;
	first += (uint64_t)(int64_t)(int32_t)read_bytes(&c, 4);
	if (pc < first || pc - first >= read_bytes(&c, 4) || c.bad)
		return false;
	skip(&c, read_uleb(&c));
	t.loc = first;
	run(&t, c, pc);
	return !t.bad && express(&t, ret);
}

struct entry {
	int32_t pc, description; /* from the header on */
};

bool unwind_rules_find(const void *header, uint64_t start, uint64_t end, uint64_t pc, struct unwind_step *ret)
{
	const uint8_t *at = header;
	const struct entry *table = (const void *)(at + 12); /* aligned by the format */
	int64_t wanted = (int64_t)(pc - (uint64_t)header);
	uint32_t n, low = 0, high;
	int32_t description;

	if ((uint64_t)at + 12 > end || at[0] != 1 || at[1] == ENC_OMIT || at[2] != ENC_UDATA4 ||
	    at[3] != ENC_DATAREL_SDATA4)
		return false;
	memcpy(&n, at + 8, 4);
	if ((uint64_t)at + 12 + (uint64_t)n * sizeof(*table) > end)
		return false;
	high = n;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (table[middle].pc <= wanted)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0)
		return false;
	description = table[low - 1].description;
	if (description < (int64_t)(start - (uint64_t)at) || description >= (int64_t)(end - (uint64_t)at))
		return false;
	return read_description(at + description, (const uint8_t *)start, (const uint8_t *)end, pc, ret);
}
