/* SPDX-License-Identifier: MIT */
/* Who holds memory: equal stacks together. */
#include "memctl/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const profile_value_names[PROFILE_VALUES] = {
	"live_bytes", "live_count",   "allocated_bytes", "allocated_count",    "peak_bytes",	"peak_count",
	"samples",    "live_samples", "live_variance",	 "allocated_variance", "peak_variance",
};
const char *const profile_kind_names[] = { "heap", "mmap", "device" };

static void *must(void *p)
{
	if (!p) {
		fputs("memctl: no memory left\n", stderr);
		exit(1);
	}
	return p;
}

struct profile *profile_new(const char *group)
{
	struct profile *p = must(calloc(1, sizeof(*p)));

	p->group = must(strdup(group));
	p->index_room = p->stack_index_room = 1024;
	p->frame_index = must(calloc(p->index_room, sizeof(*p->frame_index)));
	p->stack_index = must(calloc(p->stack_index_room, sizeof(*p->stack_index)));
	return p;
}

void profile_free(struct profile *p)
{
	for (size_t i = 0; i < p->frames; i++) {
		free(p->frame[i].function);
		free(p->frame[i].file);
		free(p->frame[i].module);
	}
	for (size_t i = 0; i < p->stacks; i++)
		free(p->stack[i].frame);
	free(p->frame);
	free(p->stack);
	free(p->frame_index);
	free(p->stack_index);
	free(p->group);
	free(p);
}

/* ---- equal frames, equal stacks -------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t x)
{
	h = (h ^ x) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 31;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
	while (*text)
		h = mix(h, (unsigned char)*text++);
	return mix(h, 256);
}

static uint64_t hash_frame(const struct profile_frame *f)
{
	return mix(hash_text(hash_text(hash_text(1, f->function), f->file), f->module), (uint64_t)f->line);
}

static bool are_equal(const struct profile_frame *a, const struct profile_frame *b)
{
	return a->line == b->line && strcmp(a->function, b->function) == 0 && strcmp(a->file, b->file) == 0 &&
	       strcmp(a->module, b->module) == 0;
}

static uint32_t *frame_slot(const struct profile *p, const struct profile_frame *f)
{
	size_t i = hash_frame(f) % p->index_room;

	while (p->frame_index[i] && !are_equal(&p->frame[p->frame_index[i] - 1], f))
		i = (i + 1) % p->index_room;
	return &p->frame_index[i];
}

static uint64_t hash_stack(unsigned kind, const uint32_t *frame, unsigned frames)
{
	uint64_t h = mix(7, kind);

	for (unsigned i = 0; i < frames; i++)
		h = mix(h, frame[i]);
	return h;
}

static uint32_t *stack_slot(const struct profile *p, unsigned kind, const uint32_t *frame, unsigned frames)
{
	size_t i = hash_stack(kind, frame, frames) % p->stack_index_room;

	for (; p->stack_index[i]; i = (i + 1) % p->stack_index_room) {
		const struct profile_stack *s = &p->stack[p->stack_index[i] - 1];

		if (s->kind == kind && s->frames == frames && memcmp(s->frame, frame, frames * sizeof(*frame)) == 0)
			break;
	}
	return &p->stack_index[i];
}

static void index_frames(struct profile *p)
{
	p->index_room *= 2;
	free(p->frame_index);
	p->frame_index = must(calloc(p->index_room, sizeof(*p->frame_index)));
	for (uint32_t i = 0; i < p->frames; i++)
		*frame_slot(p, &p->frame[i]) = i + 1;
}

static void index_stacks(struct profile *p, size_t room)
{
	p->stack_index_room = room;
	free(p->stack_index);
	p->stack_index = must(calloc(room, sizeof(*p->stack_index)));
	for (uint32_t i = 0; i < p->stacks; i++)
		*stack_slot(p, p->stack[i].kind, p->stack[i].frame, p->stack[i].frames) = i + 1;
}

uint32_t profile_frame(struct profile *p, const char *function, const char *file, int line, const char *module)
{
	const struct profile_frame f = { .function = (char *)(uintptr_t)function,
					 .file = (char *)(uintptr_t)file,
					 .module = (char *)(uintptr_t)module,
					 .line = line };
	uint32_t *slot = frame_slot(p, &f);
	struct profile_frame *new;

	if (*slot)
		return *slot - 1;
	if (p->frames == p->frame_room) {
		p->frame_room = p->frame_room ? p->frame_room * 2 : 256;
		p->frame = must(realloc(p->frame, p->frame_room * sizeof(*p->frame)));
	}
	new = &p->frame[p->frames++];
	*new = (struct profile_frame){ .function = must(strdup(function)),
				       .file = must(strdup(file)),
				       .module = must(strdup(module)),
				       .line = line };
	*slot = (uint32_t)p->frames;
	if (p->frames * 2 > p->index_room)
		index_frames(p);
	return (uint32_t)p->frames - 1;
}

static struct profile_stack *stack_of(struct profile *p, unsigned kind, const uint32_t *frame, unsigned frames)
{
	uint32_t *slot = stack_slot(p, kind, frame, frames);
	struct profile_stack *s;

	if (*slot)
		return &p->stack[*slot - 1];
	if (p->stacks == p->stack_room) {
		p->stack_room = p->stack_room ? p->stack_room * 2 : 256;
		p->stack = must(realloc(p->stack, p->stack_room * sizeof(*p->stack)));
	}
	s = &p->stack[p->stacks++];
	*s = (struct profile_stack){ .kind = kind,
				     .frames = frames,
				     .frame = must(malloc((frames + 1) * sizeof(*frame))) };
	memcpy(s->frame, frame, frames * sizeof(*frame));
	*slot = (uint32_t)p->stacks;
	if (p->stacks * 2 > p->stack_index_room)
		index_stacks(p, p->stack_index_room * 2);
	return s;
}

void profile_add(struct profile *p, unsigned kind, const uint32_t *frame, unsigned frames,
		 const double value[PROFILE_VALUES])
{
	struct profile_stack *s = stack_of(p, kind, frame, frames);

	for (int i = 0; i < PROFILE_VALUES; i++)
		s->value[i] += value[i];
}

/* ---- what is shown --------------------------------------------------------------------------------------- */

enum profile_by profile_resolve(const struct profile *p, enum profile_by by)
{
	if (by != PROFILE_BY_AUTO)
		return by;
	return p->running ? PROFILE_BY_LIVE : PROFILE_BY_PEAK;
}

double profile_bytes(const struct profile_stack *s, enum profile_by by)
{
	return s->value[by == PROFILE_BY_LIVE	? PROFILE_LIVE_BYTES
			: by == PROFILE_BY_PEAK ? PROFILE_PEAK_BYTES
						: PROFILE_BYTES];
}

double profile_count(const struct profile_stack *s, enum profile_by by)
{
	return s->value[by == PROFILE_BY_LIVE	? PROFILE_LIVE_COUNT
			: by == PROFILE_BY_PEAK ? PROFILE_PEAK_COUNT
						: PROFILE_COUNT];
}

double profile_total(const struct profile *p, enum profile_by by)
{
	double sum = 0;

	for (size_t i = 0; i < p->stacks; i++)
		sum += profile_bytes(&p->stack[i], by);
	return sum;
}

static int compare(const void *a, const void *b, void *arg)
{
	const enum profile_by *by = arg;
	double x = fabs(profile_bytes(a, *by)), y = fabs(profile_bytes(b, *by));

	return x < y ? 1 : x > y ? -1 : 0;
}

void profile_sort(struct profile *p, enum profile_by by)
{
	if (p->stacks)
		qsort_r(p->stack, p->stacks, sizeof(*p->stack), compare, &by);
	index_stacks(p, p->stack_index_room);
}

static void add_scaled(struct profile *to, const struct profile *from, double factor, enum profile_by by)
{
	for (size_t i = 0; i < from->stacks; i++) {
		const struct profile_stack *s = &from->stack[i];
		uint32_t frame[1024];
		unsigned n = s->frames < 1024 ? s->frames : 1024;
		double value[PROFILE_VALUES];

		for (unsigned k = 0; k < n; k++) {
			const struct profile_frame *f = &from->frame[s->frame[k]];

			frame[k] = profile_frame(to, f->function, f->file, f->line, f->module);
		}
		for (int k = 0; k < PROFILE_VALUES; k++)
			value[k] = factor * s->value[k];
		profile_add(to, s->kind, frame, n, value);
		if (factor < 0)
			stack_of(to, s->kind, frame, n)->before += profile_bytes(s, by);
	}
}

struct profile *profile_subtract(const struct profile *a, const struct profile *b, enum profile_by by)
{
	struct profile *p = profile_new(b->group);

	add_scaled(p, b, 1, by);
	add_scaled(p, a, -1, by);
	p->rate = b->rate;
	p->finest = b->finest;
	p->processes = b->processes;
	p->running = b->running;
	p->is_difference = true;
	return p;
}

char *profile_size(double bytes, const struct profile *p, char buf[PROFILE_SIZE_BUF])
{
	static const char unit[] = " KMGTPE";
	const char *sign = bytes < 0 ? "-" : p->is_difference ? "+" : "";
	double n = fabs(bytes);
	int u = 0;

	while (n >= 1023.95 && unit[u + 1]) {
		n /= 1024;
		u++;
	}
	if (u)
		(void)snprintf(buf, PROFILE_SIZE_BUF, "%s%.1f %ciB", sign, n, unit[u]);
	else
		(void)snprintf(buf, PROFILE_SIZE_BUF, "%s%.0f B", sign, n);
	return buf;
}

profile_write_fn profile_format(const char *name)
{
	static const struct {
		const char *name;
		profile_write_fn write;
	} formats[] = {
		{ "text", profile_write_text },	  { "folded", profile_write_folded }, { "json", profile_write_json },
		{ "pprof", profile_write_pprof }, { "svg", profile_write_svg },
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(formats[i].name, name) == 0)
			return formats[i].write;
	return NULL;
}

profile_write_fn profile_format_of_file(const char *path)
{
	static const char *const endings[][2] = {
		{ ".json", "json" }, { ".svg", "svg" },	    { ".pb.gz", "pprof" },
		{ ".pb", "pprof" },  { ".pprof", "pprof" }, { ".folded", "folded" },
	};
	size_t n = strlen(path);

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		size_t m = strlen(endings[i][0]);

		if (n > m && strcmp(path + n - m, endings[i][0]) == 0)
			return profile_format(endings[i][1]);
	}
	return profile_write_text;
}
