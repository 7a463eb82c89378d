/* SPDX-License-Identifier: MIT */
/* A profile as JSON: all there is, and read again for differences. */
#include "memctl/profile.h"

#include "accounting/stacks.h"
#include "memctl/say.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *number(double x)
{
	return fabs(x - round(x)) < 1e-9 && fabs(x) < 9e15 ? json_integer((json_int_t)x) : json_real(x);
}

static json_t *frame_json(const struct profile_frame *f)
{
	json_t *o = json_pack("{ss}", "function", f->function);

	if (!o) /* not UTF-8 */
		o = json_pack("{ss}", "function", "?");
	if (*f->file)
		(void)json_object_set_new(o, "file", json_string(f->file));
	if (f->line)
		(void)json_object_set_new(o, "line", json_integer(f->line));
	if (*f->module)
		(void)json_object_set_new(o, "module", json_string(f->module));
	return o;
}

static json_t *stack_json(const struct profile *p, const struct profile_stack *s)
{
	json_t *o = json_object();
	json_t *frames = json_array();

	(void)json_object_set_new(o, "kind", json_string(profile_kind_names[s->kind < STACKS_KINDS ? s->kind : 0]));
	for (int i = 0; i < PROFILE_VALUES; i++)
		(void)json_object_set_new(o, profile_value_names[i], number(round(s->value[i] * 100) / 100));
	for (unsigned i = 0; i < s->frames; i++)
		(void)json_array_append_new(frames, json_integer(s->frame[i]));
	(void)json_object_set_new(o, "frames", frames);
	(void)p;
	return o;
}

void profile_write_json(const struct profile *p, const struct profile_look *look, FILE *to)
{
	json_t *o = json_pack("{ss si si si sb sf sf}", "group", p->group, "processes", (int)p->processes, "running",
			      (int)p->running, "other_malloc", (int)p->unheaped, "difference", p->is_difference,
			      "lost_bytes", p->lost, "untold_mappings", p->untold);
	json_t *frames = json_array();
	json_t *stacks = json_array();

	(void)look;
	(void)json_object_set_new(o, "rate", number(p->rate));
	(void)json_object_set_new(o, "finest_rate", number(p->finest));
	for (size_t i = 0; i < p->frames; i++)
		(void)json_array_append_new(frames, frame_json(&p->frame[i]));
	for (size_t i = 0; i < p->stacks; i++)
		(void)json_array_append_new(stacks, stack_json(p, &p->stack[i]));
	(void)json_object_set_new(o, "frames", frames);
	(void)json_object_set_new(o, "stacks", stacks);
	(void)json_dumpf(o, to, JSON_COMPACT | JSON_PRESERVE_ORDER);
	fputc('\n', to);
	json_decref(o);
}

/* ---- reading ---------------------------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	return text ? text : "";
}

static void read_frames(struct profile *p, const json_t *frames, uint32_t *number_of)
{
	for (size_t i = 0; i < json_array_size(frames); i++) {
		const json_t *f = json_array_get(frames, i);

		number_of[i] = profile_frame(p, text_of(f, "function"), text_of(f, "file"),
					     (int)json_integer_value(json_object_get(f, "line")), text_of(f, "module"));
	}
}

static void read_stack(struct profile *p, const json_t *s, const uint32_t *number_of, size_t frames)
{
	const json_t *list = json_object_get(s, "frames");
	double value[PROFILE_VALUES];
	uint32_t frame[1024];
	unsigned n = 0, kind = 0;

	for (size_t i = 0; i < json_array_size(list) && n < 1024; i++) {
		json_int_t k = json_integer_value(json_array_get(list, i));

		if (k >= 0 && (size_t)k < frames)
			frame[n++] = number_of[k];
	}
	for (unsigned i = 0; i < STACKS_KINDS; i++)
		if (strcmp(text_of(s, "kind"), profile_kind_names[i]) == 0)
			kind = i;
	for (int i = 0; i < PROFILE_VALUES; i++)
		value[i] = json_number_value(json_object_get(s, profile_value_names[i]));
	profile_add(p, kind, frame, n, value);
}

static void read_all(struct profile *p, const json_t *o)
{
	const json_t *frames = json_object_get(o, "frames");
	const json_t *stacks = json_object_get(o, "stacks");
	size_t n = json_array_size(frames);
	uint32_t *number_of = calloc(n + 1, sizeof(*number_of));

	if (!number_of)
		return;
	p->rate = json_number_value(json_object_get(o, "rate"));
	p->finest = json_number_value(json_object_get(o, "finest_rate"));
	p->processes = (unsigned)json_integer_value(json_object_get(o, "processes"));
	p->running = (unsigned)json_integer_value(json_object_get(o, "running"));
	read_frames(p, frames, number_of);
	for (size_t i = 0; i < json_array_size(stacks); i++)
		read_stack(p, json_array_get(stacks, i), number_of, n);
	free(number_of);
}

struct profile *profile_read_json(const char *command, const char *path)
{
	json_error_t error;
	json_t *o = json_load_file(path, 0, &error);
	struct profile *p;

	if (!o || !json_is_array(json_object_get(o, "stacks"))) {
		(void)say_failed(command, "%s: %s; it should be what 'memctl profile --format json' printed", path,
				 o ? "no profile" : error.text);
		json_decref(o);
		return NULL;
	}
	p = profile_new(text_of(o, "group"));
	read_all(p, o);
	json_decref(o);
	return p;
}
