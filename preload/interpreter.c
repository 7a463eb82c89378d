/* SPDX-License-Identifier: MIT */
/* The lines of a Python program on a stack. */
#include "preload/interpreter.h"

#include "accounting/sys.h"
#include "preload/module.h"

#include <string.h>
#include <sys/uio.h>

/* Where things lie in one version of CPython, built for x86-64 in the ordinary way. */
struct version {
	uint16_t current;		      /* in the thread's state: its innermost frame, or what leads to it */
	int16_t via;			      /* where in that; -1: it is the frame */
	uint16_t thread_id;		      /* pthread_self */
	uint16_t code, previous, instruction; /* in a frame */
	int16_t entry;			      /* a byte that is not 0 where native code entered; -1: everywhere */
	int16_t owner; /* a byte that is 3 in a frame that only marks an entry; -1: there are none */
	uint16_t first_line, file, name, lines; /* in code */
	uint16_t start;				/* of the instructions in code; 0: instruction is their number */
	uint8_t instruction_size;		/* of such a number */
	uint8_t format;				/* of the table of lines */
	uint8_t text;				/* where a text's characters begin when all are ASCII */
};

enum { FORMAT_PAIRS, FORMAT_RANGES, FORMAT_LOCATIONS }; /* 3.8, 3.10, 3.11 */

static const struct version versions[] = {
	[8] = { 24, -1, 176, 32, 24, 104, -1, -1, 40, 104, 112, 120, 0, 1, FORMAT_PAIRS, 48 },
	[9] = { 24, -1, 176, 32, 24, 104, -1, -1, 40, 104, 112, 120, 0, 1, FORMAT_PAIRS, 48 },
	[10] = { 24, -1, 176, 32, 24, 96, -1, -1, 40, 104, 112, 120, 0, 2, FORMAT_RANGES, 48 },
	[11] = { 56, 8, 152, 32, 48, 56, 68, -1, 72, 112, 128, 136, 184, 2, FORMAT_LOCATIONS, 48 },
	[12] = { 56, 0, 136, 0, 8, 56, -1, 70, 68, 112, 128, 136, 192, 2, FORMAT_LOCATIONS, 40 },
	[13] = { 72, -1, 152, 0, 8, 56, -1, 70, 68, 112, 128, 136, 200, 2, FORMAT_LOCATIONS, 40 },
};

#define OWNER_ENTRY 3
#define OBJECT_TYPE 8
#define BYTES_SIZE 16
#define BYTES_AT 32
#define TEXT_LENGTH 16
#define TEXT_STATE 32
#define TEXT_MAX 1024u /* characters of a name that are kept */

/* Found once in a program; the same in its children. */
static struct {
	const struct version *version; /* sync: release, last; NULL: none */
	void *(*state)(void);
	uint64_t code_type, text_type, bytes_type;
} python;

static mc_word found;

/* ---- finding it ------------------------------------------------------------------------------------------- */

/* Before 3.11 nothing but what it exports says it. */
static unsigned minor_version(const struct module_symbols *m)
{
	uint64_t at = module_find(m, "Py_Version");

	if (at)
		return *(const unsigned long *)at >> 24 == 3 ? *(const unsigned long *)at >> 16 & 0xff : 0; /* NOLINT */
	if (module_find(m, "PyIter_Send"))
		return 10;
	if (module_find(m, "PyObject_CallNoArgs"))
		return 9;
	return module_find(m, "PyCode_NewWithPosOnlyArgs") ? 8 : 0;
}

void interpreter_look(uint64_t start, uint64_t end, uint64_t bias)
{
	struct module_symbols m;
	uint64_t state;
	unsigned minor;

	if (mc_load_acquire(&found) || !module_open(&m, start, end, bias))
		return;
	state = module_find(&m, "_PyThreadState_UncheckedGet");
	if (!state)
		state = module_find(&m, "PyThreadState_GetUnchecked");
	minor = state ? minor_version(&m) : 0;
	if (minor >= sizeof(versions) / sizeof(versions[0]) || !versions[minor].text)
		return;
	python.code_type = module_find(&m, "PyCode_Type");
	python.text_type = module_find(&m, "PyUnicode_Type");
	python.bytes_type = module_find(&m, "PyBytes_Type");
	memcpy(&python.state, &state, sizeof(state));
	python.version = &versions[minor];
	mc_store_release(&found, python.code_type && python.text_type && python.bytes_type);
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

static uint64_t word(uint64_t at)
{
	return *(const uint64_t *)at; /* NOLINT: an address of the interpreter's */
}

static uint32_t half(uint64_t at)
{
	return *(const uint32_t *)at; /* NOLINT */
}

static uint8_t byte(uint64_t at)
{
	return *(const uint8_t *)at; /* NOLINT */
}

/* Through the kernel: memory that is not there is no fault. */
static bool read_safely(uint64_t at, void *to, size_t size)
{
	const struct iovec local = { .iov_base = to, .iov_len = size };
	const struct iovec remote = { .iov_base = (void *)at, .iov_len = size }; /* NOLINT */

	return at > 4096 &&
	       sys_call6(SYS_process_vm_readv, sys_getpid(), (long)&local, 1, (long)&remote, 1, 0) == (long)size;
}

static bool is_of_type(uint64_t object, uint64_t type)
{
	uint64_t seen;

	return read_safely(object + OBJECT_TYPE, &seen, sizeof(seen)) && seen == type;
}

static bool has_part(uint64_t object, unsigned at, uint64_t type)
{
	uint64_t part;

	return read_safely(object + at, &part, sizeof(part)) && is_of_type(part, type);
}

/* True when the frame is what it should be in this version. */
static bool is_frame(const struct version *v, uint64_t frame)
{
	uint64_t code;

	return read_safely(frame + v->code, &code, sizeof(code)) && is_of_type(code, python.code_type) &&
	       has_part(code, v->file, python.text_type) && has_part(code, v->name, python.text_type) &&
	       has_part(code, v->lines, python.bytes_type);
}

/* The innermost frame of the calling thread; 0: it is not in the interpreter. */
static uint64_t innermost(const struct version *v)
{
	uint64_t state = (uint64_t)python.state();
	uint64_t frame;

	if (!state || word(state + v->thread_id) != (uint64_t)__builtin_thread_pointer())
		return 0;
	frame = word(state + v->current);
	return frame && v->via >= 0 ? word(frame + (unsigned)v->via) : frame;
}

/* ---- lines ------------------------------------------------------------------------------------------------ */

static int line_in_pairs(uint64_t at, uint64_t n, unsigned offset, int line)
{
	for (unsigned here = 0; n >= 2; at += 2, n -= 2) {
		here += byte(at);
		if (here > offset)
			break;
		line += (int8_t)byte(at + 1);
	}
	return line;
}

static int line_in_ranges(uint64_t at, uint64_t n, unsigned offset, int line)
{
	for (unsigned here = 0; n >= 2; at += 2, n -= 2) {
		int8_t change = (int8_t)byte(at + 1);

		if (change != -128)
			line += change;
		here += byte(at);
		if (here > offset)
			break;
	}
	return line;
}

static int signed_number(uint64_t at)
{
	unsigned value = 0, shift = 0;
	uint8_t b;

	do {
		b = byte(at++);
		value |= (unsigned)(b & 63) << shift;
		shift += 6;
	} while (b & 64 && shift < 30);
	return value & 1 ? -(int)(value >> 1) : (int)(value >> 1);
}

static int line_in_locations(uint64_t at, uint64_t n, unsigned offset, int line)
{
	uint64_t end = at + n;

	for (unsigned here = 0; at < end;) {
		uint8_t first = byte(at);
		unsigned kind = first >> 3 & 15;

		if (kind == 13 || kind == 14)
			line += signed_number(at + 1);
		else if (kind >= 10 && kind <= 12)
			line += (int)kind - 10;
		here += ((first & 7u) + 1) * 2;
		if (here > offset)
			break;
		do
			at++;
		while (at < end && !(byte(at) & 128));
	}
	return line;
}

static int line_of(const struct version *v, uint64_t frame, uint64_t code)
{
	uint64_t table = word(code + v->lines);
	int line = (int)half(code + v->first_line);
	int64_t offset;

	if (v->start)
		offset = (int64_t)(word(frame + v->instruction) - (code + v->start));
	else
		offset = (int64_t)(int32_t)half(frame + v->instruction) * v->instruction_size;
	if (offset < 0)
		return line; /* it has not begun */
	switch (v->format) {
	case FORMAT_PAIRS:
		return line_in_pairs(table + BYTES_AT, word(table + BYTES_SIZE), (unsigned)offset, line);
	case FORMAT_RANGES:
		return line_in_ranges(table + BYTES_AT, word(table + BYTES_SIZE), (unsigned)offset, line);
	default:
		return line_in_locations(table + BYTES_AT, word(table + BYTES_SIZE), (unsigned)offset, line);
	}
}

/* ---- names ------------------------------------------------------------------------------------------------ */

static size_t encode(char *to, uint32_t c)
{
	if (c < 0x80) {
		to[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		to[0] = (char)(0xc0 | c >> 6);
		to[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c >= 0x10000) {
		*to = '?';
		return 1;
	}
	to[0] = (char)(0xe0 | c >> 12);
	to[1] = (char)(0x80 | (c >> 6 & 63));
	to[2] = (char)(0x80 | (c & 63));
	return 3;
}

/* A text as UTF-8; `to` has room for TEXT_MAX characters of three bytes. */
static size_t read_text(const struct version *v, uint64_t text, char *to)
{
	uint64_t n = word(text + TEXT_LENGTH);
	uint32_t state = half(text + TEXT_STATE);
	unsigned size = state >> 2 & 7;
	uint64_t at = text + v->text + (state >> 6 & 1 ? 0u : v->text == 48 ? 24u : 16u);
	size_t used = 0;

	if (!(state >> 5 & 1) || (size != 1 && size != 2 && size != 4))
		return 0;
	n = n < TEXT_MAX ? n : TEXT_MAX;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t c = 0;

		memcpy(&c, (const void *)(at + i * size), size); /* NOLINT */
		used += encode(to + used, c);
	}
	return used;
}

static uint32_t write_text(const struct version *v, struct stacks_writer *w, uint64_t code)
{
	char file[3 * TEXT_MAX], name[3 * TEXT_MAX];
	size_t file_size = read_text(v, word(code + v->file), file);
	size_t name_size = read_text(v, word(code + v->name), name);

	return stacks_text(w, file, file_size, name, name_size);
}

static uint64_t key_of(const struct version *v, uint64_t code)
{
	uint64_t h = code * 0x9e3779b97f4a7c15ull;

	h = (h ^ word(code + v->file)) * 0xbf58476d1ce4e5b9ull;
	h = (h ^ h >> 29 ^ word(code + v->name)) * 0x94d049bb133111ebull;
	return h ^ h >> 31 ^ half(code + v->first_line);
}

static uint32_t text_of(const struct version *v, struct interpreter *i, struct stacks_writer *w, uint64_t code)
{
	uint64_t key = key_of(v, code);
	struct interpreter_code *slot = &i->code[key % INTERPRETER_CODES];
	uint64_t text = mc_load_relaxed(&slot->text);

	if (text && (mc_load_relaxed(&slot->check) ^ text) == key)
		return (uint32_t)text;
	text = write_text(v, w, code);
	mc_store_relaxed(&slot->check, key ^ text);
	mc_store_relaxed(&slot->text, text);
	return (uint32_t)text;
}

/* ---- frames ----------------------------------------------------------------------------------------------- */

static bool only_marks_entry(const struct version *v, uint64_t frame)
{
	return v->owner >= 0 && byte(frame + (unsigned)v->owner) == OWNER_ENTRY;
}

static bool was_entered(const struct version *v, uint64_t frame, uint64_t previous)
{
	if (v->owner >= 0)
		return !previous || only_marks_entry(v, previous);
	return v->entry < 0 || byte(frame + (unsigned)v->entry) != 0;
}

static bool is_trusted(const struct version *v, struct interpreter *i, uint64_t frame)
{
	uint32_t trust = mc_load_relaxed(&i->trust);

	if (trust == 0) {
		trust = is_frame(v, frame) ? 1 : 2;
		mc_store_relaxed(&i->trust, trust);
	}
	return trust == 1;
}

unsigned interpreter_walk(struct interpreter *i, struct stacks_writer *w, uint64_t *frame, unsigned max)
{
	const struct version *v = mc_load_acquire(&found) ? python.version : NULL;
	uint64_t at = v && mc_load_relaxed(&i->trust) != 2 ? innermost(v) : 0;
	unsigned n = 0;

	while (at && n < max) {
		uint64_t previous, code;

		if (only_marks_entry(v, at)) {
			at = word(at + v->previous);
			continue;
		}
		if (!is_trusted(v, i, at))
			return 0;
		previous = word(at + v->previous);
		code = word(at + v->code);
		frame[n++] = STACKS_FRAME_TEXT | (was_entered(v, at, previous) ? STACKS_FRAME_ENTRY : 0) |
			     (uint64_t)((unsigned)line_of(v, at, code) & 0x3fffffffu) << 32 | text_of(v, i, w, code);
		at = previous;
	}
	return n;
}
