/* SPDX-License-Identifier: MIT */
/* A profile for people: the largest sites, each with its stack. And folded: a line a stack, for
 * other tools. */
#include "memctl/profile.h"

#include "accounting/stacks.h"

#include <math.h>
#include <string.h>

#define SHOWN_DEPTH 12 /* frames of a stack; the innermost say most */

static const char *const by_words[] = { "LIVE", "ALLOCATED", "PEAK" };

/* Half the width of the interval that holds the truth 19 times of 20, as a part of the number;
 * below 0: unknown. What is large enough to be sampled always has none. */
static double doubt_of(const struct profile_stack *s, enum profile_by by)
{
	double bytes = profile_bytes(s, by);
	double variance = s->value[by == PROFILE_BY_LIVE   ? PROFILE_LIVE_VARIANCE
				   : by == PROFILE_BY_PEAK ? PROFILE_PEAK_VARIANCE
							   : PROFILE_VARIANCE];

	return bytes > 0 ? 1.96 * sqrt(variance > 0 ? variance : 0) / bytes : -1;
}

static void write_doubt(const struct profile *p, const struct profile_stack *s, enum profile_by by, FILE *to)
{
	double doubt = p->is_difference ? -1 : doubt_of(s, by);

	if (doubt < 0)
		fprintf(to, "%7s", "");
	else
		fprintf(to, "  ±%3.0f%%", 100 * (doubt < 1 ? doubt : 1));
}

static void write_frame(const struct profile_frame *f, const char *indent, unsigned width, FILE *to)
{
	char place[600] = "";
	const char *file = strrchr(f->file, '/');
	size_t room = width > 60 ? width - strlen(indent) : 0;
	int most;

	file = file ? file + 1 : f->file;
	if (*file && f->line)
		(void)snprintf(place, sizeof(place), "  %.250s:%d", file, f->line);
	else if (*f->module)
		(void)snprintf(place, sizeof(place), "  %.250s", f->module);
	if (strncmp(f->function, f->module, strlen(f->module)) == 0 && *f->module && !*file)
		*place = 0; /* "libx.so+0x1234" says it already */
	most = room > strlen(place) + 20 ? (int)(room - strlen(place)) : room ? 20 : 1000;
	if ((int)strlen(f->function) > most)
		fprintf(to, "%s%.*s...%s\n", indent, most - 3, f->function, place);
	else
		fprintf(to, "%s%s%s\n", indent, f->function, place);
}

static void write_stack(const struct profile *p, const struct profile_stack *s, unsigned width, FILE *to)
{
	unsigned n = s->frames <= SHOWN_DEPTH + 1 ? s->frames : SHOWN_DEPTH;

	for (unsigned i = 0; i < n; i++)
		write_frame(&p->frame[s->frame[i]], "        ", width, to);
	if (n < s->frames) {
		fprintf(to, "        ... %u more\n", s->frames - n - 1);
		write_frame(&p->frame[s->frame[s->frames - 1]], "        ", width, to);
	}
}

static void write_title(const struct profile *p, enum profile_by by, FILE *to)
{
	char a[PROFILE_SIZE_BUF], b[PROFILE_SIZE_BUF], c[PROFILE_SIZE_BUF], rate[PROFILE_SIZE_BUF];
	struct profile plain = { 0 };

	fprintf(to, "%s: %s live, %s at the peak, %s allocated in all", p->group,
		profile_size(profile_total(p, PROFILE_BY_LIVE), p, a),
		profile_size(profile_total(p, PROFILE_BY_PEAK), p, b),
		profile_size(profile_total(p, PROFILE_BY_ALLOCATED), p, c));
	if (p->is_difference) {
		fprintf(to, " (changes)\n");
	} else {
		fprintf(to, "\n%u process%s, %u of them running; one sample every %s", p->processes,
			p->processes == 1 ? "" : "es", p->running, profile_size(p->finest, &plain, rate));
		fprintf(to, " to %s\n", profile_size(p->rate, &plain, rate));
	}
	if (p->unheaped)
		fprintf(to, "%u with another malloc: their heap is not here, only what they mapped\n", p->unheaped);
	if (p->lost > 0)
		fprintf(to, "%s found no room for their stacks\n", profile_size(p->lost, &plain, a));
	if (p->untold > 0)
		fprintf(to, "%.0f mappings could not be followed\n", p->untold);
	(void)by;
}

void profile_write_text(const struct profile *p, const struct profile_look *look, FILE *to)
{
	double total = profile_total(p, look->by);
	double rest = 0;
	size_t left = 0;
	char size[PROFILE_SIZE_BUF];
	const char *bold = look->colour ? "\033[1m" : "";
	const char *plain = look->colour ? "\033[0m" : "";

	write_title(p, look->by, to);
	fprintf(to, "\n%s%12s %6s %12s %7s  %s%s\n", bold, by_words[look->by], "", "BLOCKS",
		p->is_difference ? "" : "DOUBT", "KIND, STACK", plain);
	for (size_t i = 0; i < p->stacks; i++) {
		const struct profile_stack *s = &p->stack[i];
		double bytes = profile_bytes(s, look->by);

		if (fabs(bytes) < 0.5)
			continue;
		if (look->top && i >= look->top) {
			rest += bytes;
			left++;
			continue;
		}
		fprintf(to, "%s%12s %5.1f%% %12.0f%s", bold, profile_size(bytes, p, size),
			fabs(total) > 0 && !p->is_difference ? 100 * bytes / total
			: s->before > 0			     ? 100 * bytes / s->before
							     : 100.0,
			profile_count(s, look->by), plain);
		write_doubt(p, s, look->by, to);
		fprintf(to, "  %s\n", profile_kind_names[s->kind < STACKS_KINDS ? s->kind : 0]);
		write_stack(p, s, look->width, to);
	}
	if (left)
		fprintf(to, "%12s  in %zu more stacks (--top 0 shows all)\n", profile_size(rest, p, size), left);
}

/* ---- folded ---------------------------------------------------------------------------------------------- */

/* Semicolons separate frames, the last blank the number. */
static void write_name(const struct profile_frame *f, FILE *to)
{
	const char *file = strrchr(f->file, '/');

	for (const char *c = f->function; *c; c++)
		fputc(*c == ';' || *c == '\n' ? ':' : *c, to);
	if (strcmp(f->module, "python") == 0)
		fprintf(to, " (%s:%d)", file ? file + 1 : f->file, f->line);
}

static void write_folded_stack(const struct profile *p, const struct profile_stack *s, FILE *to)
{
	for (unsigned i = s->frames; i--;) {
		write_name(&p->frame[s->frame[i]], to);
		fputc(';', to);
	}
	fprintf(to, "[%s]", profile_kind_names[s->kind < STACKS_KINDS ? s->kind : 0]);
}

/* Of a difference: before and after, as difffolded tools have it. */
void profile_write_folded(const struct profile *p, const struct profile_look *look, FILE *to)
{
	for (size_t i = 0; i < p->stacks; i++) {
		const struct profile_stack *s = &p->stack[i];
		double bytes = profile_bytes(s, look->by);

		if (fabs(bytes) < 0.5 && s->before < 0.5)
			continue;
		write_folded_stack(p, s, to);
		if (p->is_difference)
			fprintf(to, " %.0f %.0f\n", s->before, s->before + bytes);
		else
			fprintf(to, " %.0f\n", bytes);
	}
}
