/* SPDX-License-Identifier: MIT */
/* What a group held over time. */
#include "memctl/plot.h"

#include "memctl/client.h"
#include "memctl/error.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct plot_class plot_classes[PLOT_CLASSES] = {
	{ "heap", 'h', "\u2588", "\033[34m", 0.35, 0.55, 0.80, 0 },
	{ "anon", 'a', "\u2592", "\033[32m", 0.70, 0.86, 0.60, 1 },
	{ "shmem", 's', "\u2593", "\033[35m", 0.80, 0.62, 0.80, 2 },
	{ "stack", 't', "\u2591", "\033[33m", 0.98, 0.88, 0.55, 3 },
	{ "pinned", 'p', "\u259a", "\033[31m", 0.93, 0.56, 0.48, 4 },
	{ "observed", 'o', "\u259e", "\033[36m", 0.78, 0.90, 0.94, 5 },
};

/* Heavier ones first. */
static const struct {
	char mark;
	const char *event, *meaning;
} marks[] = {
	{ 'K', "oom_kill", "killed" },
	{ 'R', "oom", "refused" },
	{ 'O', "over", "forced over the limit" },
	{ 'M', "max", "met memory.max" },
	{ 'H', "high", "above memory.high" },
	{ 'L', "low", "reclaimed below memory.low" },
};

const char plot_marks[] = "KROMHL";

const char *plot_mark_meaning(char mark)
{
	for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++)
		if (marks[i].mark == mark)
			return marks[i].meaning;
	return "";
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static uint64_t size_of(const json_t *v)
{
	return json_is_integer(v) ? (uint64_t)json_integer_value(v) : MEMCTL_MAX;
}

static int class_index(const char *name)
{
	for (int i = 0; i < PLOT_CLASSES; i++)
		if (name && strcmp(plot_classes[i].name, name) == 0)
			return i;
	return 1; /* what is not known here is anon */
}

static void read_row(const struct plot *p, const json_t *names, const json_t *row, struct plot_point *to)
{
	const json_t *classes = json_object_get(row, "classes"), *events = json_object_get(row, "events");

	*to = (struct plot_point){ .at_ms = json_integer_value(json_object_get(row, "at")),
				   .max = size_of(json_object_get(row, "max")),
				   .high = size_of(json_object_get(row, "high")),
				   .some_us = (uint64_t)json_integer_value(json_object_get(row, "some")) };
	for (size_t i = 0; i < json_array_size(classes); i++)
		to->class[class_index(json_string_value(json_array_get(names, i)))] +=
			(uint64_t)json_integer_value(json_array_get(classes, i));
	for (size_t i = 0; i < p->event_count; i++)
		to->event[i] = (uint64_t)json_integer_value(json_array_get(events, i));
}

static void read_events(struct plot *p, const json_t *names)
{
	p->event_count = (unsigned)json_array_size(names);
	if (p->event_count > 8)
		p->event_count = 8;
	for (unsigned i = 0; i < p->event_count; i++)
		(void)snprintf(p->events[i], sizeof(p->events[i]), "%.20s",
			       json_string_value(json_array_get(names, i)));
}

static int on_page(json_t *reply, void *arg)
{
	const json_t *rows = json_object_get(reply, "rows");
	struct plot *p = arg;

	read_events(p, json_object_get(reply, "events"));
	for (size_t i = 0; i < json_array_size(rows); i++) {
		if (p->n == p->room) {
			size_t room = p->room ? 2 * p->room : 512;
			struct plot_point *more = reallocarray(p->point, room, sizeof(*more));

			if (!more)
				return error_set(-ENOMEM, "no memory left");
			p->point = more;
			p->room = room;
		}
		read_row(p, json_object_get(reply, "classes"), json_array_get(rows, i), &p->point[p->n++]);
	}
	return 0;
}

static int by_time(const void *a, const void *b)
{
	const struct plot_point *p = a, *q = b;

	return p->at_ms < q->at_ms ? -1 : p->at_ms > q->at_ms;
}

static uint64_t held(const struct plot_point *q)
{
	uint64_t sum = 0;

	for (int i = 0; i < PLOT_CLASSES; i++)
		sum += q->class[i];
	return sum;
}

/* No further back than there is something to draw. A limit that is far above everything would press
 * it flat: it is told in words then. */
static void find_range(struct plot *p, int64_t since_ms)
{
	uint64_t least_max = MEMCTL_MAX, most = 0;

	p->to_ms = p->point[p->n - 1].at_ms;
	p->from_ms = p->point[0].at_ms;
	if (since_ms && p->from_ms < p->to_ms - since_ms)
		p->from_ms = p->to_ms - since_ms;
	else if (p->to_ms - p->from_ms < 10000)
		p->from_ms = p->to_ms - 10000;
	for (size_t i = 0; i < p->n; i++) {
		const struct plot_point *q = &p->point[i];

		if (i + 1 < p->n && p->point[i + 1].at_ms <= p->from_ms)
			continue;
		p->peak = held(q) > p->peak ? held(q) : p->peak;
		least_max = q->max < least_max ? q->max : least_max;
	}
	for (size_t i = 0; i < p->n; i++) {
		const struct plot_point *q = &p->point[i];

		if (i + 1 < p->n && p->point[i + 1].at_ms <= p->from_ms)
			continue;
		if (q->max != MEMCTL_MAX && q->max / 3 <= p->peak) {
			p->shows_max = true;
			most = q->max > most ? q->max : most;
		}
		if (q->high != MEMCTL_MAX && q->high / 3 <= p->peak) {
			p->shows_high = true;
			most = q->high > most ? q->high : most;
		}
	}
	p->top = p->peak > most ? p->peak : most;
	p->top += p->top / 16;
	if (p->top < 65536)
		p->top = 65536;
}

int plot_read(struct memctl *m, const char *group, int64_t since_ms, struct plot *ret)
{
	struct plot p = { .n = 0 };
	int err;

	(void)snprintf(p.group, sizeof(p.group), "%s", group);
	err = client_pages(m, client_new_request("history", group), on_page, &p);
	if (!err && !p.n)
		err = error_set(-ENODATA, "nothing is known of %s yet: it was made just now; try again in a second",
				group);
	if (err) {
		plot_free(&p);
		return err;
	}
	qsort(p.point, p.n, sizeof(*p.point), by_time);
	find_range(&p, since_ms);
	*ret = p;
	return 0;
}

void plot_free(struct plot *p)
{
	free(p->point);
	*p = (struct plot){ 0 };
}

/* ---- columns --------------------------------------------------------------------------------------------- */

#define FRESH_MS 2000
#define COARSE_MS 14000

/* The last point at or before a time; p->n when there is none. */
static size_t point_at(const struct plot *p, int64_t at_ms)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (p->point[middle].at_ms <= at_ms)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? low - 1 : p->n;
}

static char mark_between(const struct plot *p, const struct plot_point *a, const struct plot_point *b)
{
	for (size_t m = 0; m < sizeof(marks) / sizeof(marks[0]); m++)
		for (unsigned i = 0; i < p->event_count; i++)
			if (strcmp(p->events[i], marks[m].event) == 0 && b->event[i] > a->event[i])
				return marks[m].mark;
	return 0;
}

static char heavier(char a, char b)
{
	const char *p = a ? strchr(plot_marks, a) : NULL, *q = b ? strchr(plot_marks, b) : NULL;

	return !p ? b : !q ? a : p < q ? a : b;
}

/* The total at a time. A record is made within a second or two of a change, so the growth lies in
 * the end of the time between two; where only coarse records are left, nobody knows. */
static double stalled_until(const struct plot *p, int64_t at_ms)
{
	size_t i = point_at(p, at_ms);
	const struct plot_point *a, *b;
	int64_t begin;

	if (i == p->n)
		return (double)p->point[0].some_us;
	a = &p->point[i];
	if (i + 1 == p->n)
		return (double)a->some_us;
	b = a + 1;
	begin = b->at_ms - a->at_ms > FRESH_MS && b->at_ms - a->at_ms < COARSE_MS ? b->at_ms - FRESH_MS : a->at_ms;
	if (at_ms <= begin || b->some_us <= a->some_us)
		return (double)a->some_us;
	return (double)a->some_us +
	       (double)(b->some_us - a->some_us) * (double)(at_ms - begin) / (double)(b->at_ms - begin);
}

void plot_take_column(const struct plot *p, unsigned i, unsigned n, struct plot_column *ret)
{
	int64_t span = p->to_ms - p->from_ms;
	int64_t begin = p->from_ms + span * i / n, end = p->from_ms + span * (i + 1) / n;
	size_t at = point_at(p, begin), last = point_at(p, i + 1 == n ? end : end - 1);
	const struct plot_point *most;

	*ret = (struct plot_column){ .max = MEMCTL_MAX, .high = MEMCTL_MAX };
	if (last == p->n)
		return;
	if (at == p->n)
		at = 0;
	most = &p->point[at];
	for (size_t k = at; k <= last; k++) {
		const struct plot_point *q = &p->point[k];

		if (held(q) > held(most))
			most = q;
		if (k && (k > at || q->at_ms >= begin))
			ret->mark = heavier(ret->mark, mark_between(p, q - 1, q));
	}
	ret->is_known = true;
	memcpy(ret->class, most->class, sizeof(ret->class));
	ret->max = p->point[last].max;
	ret->high = p->point[last].high;
	if (end > begin)
		ret->stalled = (stalled_until(p, end) - stalled_until(p, begin)) / 1000.0 / (double)(end - begin);
	if (ret->stalled > 1)
		ret->stalled = 1;
}

/* ---- scales and words ------------------------------------------------------------------------------------ */

unsigned plot_ticks(const struct plot *p, unsigned most, uint64_t ret[PLOT_TICKS])
{
	uint64_t step = 4096;
	unsigned n = 0;

	if (most > PLOT_TICKS)
		most = PLOT_TICKS;
	while (p->top / step + 1 > most)
		step *= 2;
	for (uint64_t v = 0; v <= p->top && n < most; v += step)
		ret[n++] = v;
	return n;
}

char *plot_size(uint64_t bytes, char buf[PLOT_TEXT])
{
	static const char unit[] = "BKMGTPE";
	double n = (double)bytes;
	unsigned u = 0;

	while (n >= 1000 && u < 6) {
		n /= 1024;
		u++;
	}
	(void)snprintf(buf, PLOT_TEXT, n - (double)(uint64_t)n < 0.05 || n >= 99.95 ? "%.0f%c" : "%.1f%c", n, unit[u]);
	return bytes ? buf : strcpy(buf, "0");
}

char *plot_time(const struct plot *p, int64_t at_ms, char buf[PLOT_TEXT])
{
	time_t at = (time_t)(at_ms / 1000);
	struct tm day;

	(void)localtime_r(&at, &day);
	(void)strftime(buf, PLOT_TEXT, p->to_ms - p->from_ms < 30 * 60 * 1000 ? "%H:%M:%S" : "%H:%M", &day);
	return buf;
}

void plot_caption(const struct plot *p, char *buf, size_t size)
{
	const struct plot_point *last = &p->point[p->n - 1];
	char a[PLOT_TEXT], b[PLOT_TEXT], c[PLOT_TEXT];
	int n = snprintf(buf, size, "now %s, peak %s", plot_size(held(last), a), plot_size(p->peak, b));

	if (last->max != MEMCTL_MAX)
		n += snprintf(buf + n, size - (size_t)n, ", memory.max %s%s", plot_size(last->max, c),
			      p->shows_max ? "" : " (above the picture)");
	if (last->high != MEMCTL_MAX)
		(void)snprintf(buf + n, size - (size_t)n, ", memory.high %s%s", plot_size(last->high, c),
			       p->shows_high ? "" : " (above the picture)");
}
