/* SPDX-License-Identifier: MIT */
/* A profile as pprof's profile.proto, gzipped. The message is six kinds of fields: writing them out is shorter than
 * the glue to a protobuf library. */
#include "memctl/profile.h"

#include "accounting/stacks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

/* Numbers of fields in profile.proto. */
enum {
	P_SAMPLE_TYPE = 1,
	P_SAMPLE,
	P_MAPPING,
	P_LOCATION,
	P_FUNCTION,
	P_STRINGS,
	P_PERIOD_TYPE = 11,
	P_PERIOD,
	P_COMMENT,
	P_DEFAULT_TYPE
};
enum { TYPE_NAME = 1, TYPE_UNIT };
enum { SAMPLE_LOCATIONS = 1, SAMPLE_VALUES, SAMPLE_LABEL };
enum { LABEL_KEY = 1, LABEL_TEXT };
enum { LOCATION_ID = 1, LOCATION_LINE = 4 };
enum { LINE_FUNCTION = 1, LINE_NUMBER };
enum { FUNCTION_ID = 1, FUNCTION_NAME, FUNCTION_FILE = 4 }; /* 3, the name to demangle: <module> must stay */

struct bytes {
	unsigned char *at;
	size_t n, room;
};

struct writer {
	struct bytes out;
	const char **text;
	size_t texts, room;
};

static void *must(void *p)
{
	if (!p) {
		fputs("memctl: no memory left\n", stderr);
		exit(1);
	}
	return p;
}

static void put(struct bytes *b, const void *from, size_t n)
{
	if (b->n + n > b->room) {
		b->room = (b->n + n) * 2;
		b->at = must(realloc(b->at, b->room));
	}
	if (n)
		memcpy(b->at + b->n, from, n);
	b->n += n;
}

static void put_varint(struct bytes *b, uint64_t x)
{
	unsigned char byte;

	do {
		byte = (unsigned char)((x & 0x7f) | (x > 0x7f ? 0x80 : 0));
		put(b, &byte, 1);
	} while (x >>= 7);
}

static void put_number(struct bytes *b, unsigned field, uint64_t x)
{
	put_varint(b, field << 3);
	put_varint(b, x);
}

static void put_bytes(struct bytes *b, unsigned field, const void *from, size_t n)
{
	put_varint(b, field << 3 | 2);
	put_varint(b, n);
	put(b, from, n);
}

static void put_message(struct bytes *to, unsigned field, struct bytes *message)
{
	put_bytes(to, field, message->at, message->n);
	message->n = 0;
}

/* Its number in the table of strings. Equal ones may appear twice: what repeats are few names of units. */
static uint64_t text(struct writer *w, const char *t)
{
	for (size_t i = 0; i < w->texts && i < 24; i++)
		if (strcmp(w->text[i], t) == 0)
			return i;
	if (w->texts == w->room) {
		w->room = w->room * 2 + 64;
		w->text = must(realloc(w->text, w->room * sizeof(*w->text)));
	}
	w->text[w->texts] = t;
	return w->texts++;
}

static void put_type(struct writer *w, struct bytes *to, unsigned field, const char *name, const char *unit)
{
	struct bytes m = { 0 };

	put_number(&m, TYPE_NAME, text(w, name));
	put_number(&m, TYPE_UNIT, text(w, unit));
	put_message(to, field, &m);
	free(m.at);
}

static const struct {
	const char *name, *unit;
	enum profile_value value;
} types[] = {
	{ "inuse_objects", "count", PROFILE_LIVE_COUNT }, { "inuse_space", "bytes", PROFILE_LIVE_BYTES },
	{ "alloc_objects", "count", PROFILE_COUNT },	  { "alloc_space", "bytes", PROFILE_BYTES },
	{ "peak_objects", "count", PROFILE_PEAK_COUNT },  { "peak_space", "bytes", PROFILE_PEAK_BYTES },
};
#define TYPES (sizeof(types) / sizeof(types[0]))

/* As the format has it: 64 bits, signed. A damaged picture may say any number. */
static uint64_t whole(double value)
{
	static const double most = 9.2e18;

	value = fmin(fmax(value, -most), most);
	return (uint64_t)(int64_t)round(value);
}

static void put_sample(struct writer *w, const struct profile_stack *s)
{
	struct bytes m = { 0 }, packed = { 0 };

	for (unsigned i = 0; i < s->frames; i++)
		put_varint(&packed, s->frame[i] + 1);
	put_message(&m, SAMPLE_LOCATIONS, &packed);
	for (size_t i = 0; i < TYPES; i++)
		put_varint(&packed, whole(s->value[types[i].value]));
	put_message(&m, SAMPLE_VALUES, &packed);
	put_number(&packed, LABEL_KEY, text(w, "kind"));
	put_number(&packed, LABEL_TEXT, text(w, profile_kind_names[s->kind < STACKS_KINDS ? s->kind : 0]));
	put_message(&m, SAMPLE_LABEL, &packed);
	put_message(&w->out, P_SAMPLE, &m);
	free(packed.at);
	free(m.at);
}

/* A location and a function for each frame: its number + 1. */
static void put_frame(struct writer *w, const struct profile_frame *f, uint64_t id)
{
	struct bytes m = { 0 }, line = { 0 };

	put_number(&m, LOCATION_ID, id);
	put_number(&line, LINE_FUNCTION, id);
	put_number(&line, LINE_NUMBER, (uint64_t)f->line);
	put_message(&m, LOCATION_LINE, &line);
	put_message(&w->out, P_LOCATION, &m);
	put_number(&m, FUNCTION_ID, id);
	put_number(&m, FUNCTION_NAME, text(w, f->function));
	put_number(&m, FUNCTION_FILE, text(w, *f->file ? f->file : f->module));
	put_message(&w->out, P_FUNCTION, &m);
	free(line.at);
	free(m.at);
}

static void write_plain(const struct bytes *b, FILE *to)
{
	(void)fwrite(b->at, 1, b->n, to);
}

#ifdef HAVE_ZLIB
static void write_out(const struct bytes *b, FILE *to)
{
	z_stream z = { .next_in = b->at, .avail_in = (uInt)b->n };
	unsigned char *out;
	uLong room;

	if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
		write_plain(b, to);
		return;
	}
	room = deflateBound(&z, (uLong)b->n);
	out = must(malloc(room));
	z.next_out = out;
	z.avail_out = (uInt)room;
	(void)deflate(&z, Z_FINISH);
	(void)fwrite(out, 1, room - z.avail_out, to);
	(void)deflateEnd(&z);
	free(out);
}
#else
#define write_out write_plain /* readers take it either way */
#endif

void profile_write_pprof(const struct profile *p, const struct profile_look *look, FILE *to)
{
	static const char *const default_type[] = { "inuse_space", "alloc_space", "peak_space" };
	struct writer w = { 0 };

	(void)text(&w, "");
	for (size_t i = 0; i < TYPES; i++)
		put_type(&w, &w.out, P_SAMPLE_TYPE, types[i].name, types[i].unit);
	put_type(&w, &w.out, P_PERIOD_TYPE, "space", "bytes");
	put_number(&w.out, P_PERIOD, whole(p->rate));
	put_number(&w.out, P_DEFAULT_TYPE, text(&w, default_type[look->by]));
	for (unsigned i = 0; i < STACKS_KINDS; i++)
		(void)text(&w, profile_kind_names[i]);
	for (size_t i = 0; i < p->stacks; i++)
		put_sample(&w, &p->stack[i]);
	for (size_t i = 0; i < p->frames; i++)
		put_frame(&w, &p->frame[i], i + 1);
	for (size_t i = 0; i < w.texts; i++)
		put_bytes(&w.out, P_STRINGS, w.text[i], strlen(w.text[i]));
	write_out(&w.out, to);
	free(w.out.at);
	free(w.text);
}
