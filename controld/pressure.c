/* SPDX-License-Identifier: MIT */
/* memory.pressure_level: how hard it is to get memory back, and who is told. */
#include "controld/pressure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef unsigned __int128 wide;

/* Rounded as in the kernel, where the part that came back is cut to a whole unit: that makes the pressure a
 * little higher. */
unsigned pressure_percent(uint64_t scanned, uint64_t reclaimed)
{
	wide scale = (wide)scanned + reclaimed;

	if (reclaimed >= scanned)
		return 0;
	return (unsigned)((scale - reclaimed * scale / scanned) * 100 / scale);
}

enum pressure_level pressure_level(uint64_t scanned, uint64_t reclaimed)
{
	unsigned percent = pressure_percent(scanned, reclaimed);

	if (percent >= PRESSURE_CRITICAL_PERCENT)
		return PRESSURE_CRITICAL;
	return percent >= PRESSURE_MEDIUM_PERCENT ? PRESSURE_MEDIUM : PRESSURE_LOW;
}

bool pressure_book(struct pressure_sum *sum, uint64_t scanned, uint64_t reclaimed)
{
	if (!scanned)
		return false;
	sum->scanned += scanned;
	sum->reclaimed += reclaimed;
	return sum->scanned >= PRESSURE_WINDOW;
}

bool pressure_book_priority(struct pressure_sum *sum, unsigned priority)
{
	return priority <= PRESSURE_PRIORITY_CRITICAL && pressure_book(sum, PRESSURE_WINDOW, 0);
}

bool pressure_take(struct pressure_sum *sum, enum pressure_level *ret_level)
{
	struct pressure_sum was = *sum;

	if (!was.scanned)
		return false;
	*sum = (struct pressure_sum){ 0 };
	*ret_level = pressure_level(was.scanned, was.reclaimed);
	return true;
}

/* Tells those of one group. True when there was anybody. */
static bool tell_group(uint16_t group, enum pressure_level level, bool is_above, bool somebody_told,
		       const struct pressure_listener *listeners, uint32_t count, bool *told)
{
	bool somebody = false;

	for (uint32_t i = 0; i < count; i++) {
		const struct pressure_listener *l = &listeners[i];

		if (l->group == group && pressure_is_told(level, (enum pressure_level)l->level,
							  (enum pressure_mode)l->mode, is_above, somebody_told))
			told[i] = somebody = true;
	}
	return somebody;
}

void pressure_tell(const struct survey *s, uint16_t group, enum pressure_level level,
		   const struct pressure_listener *listeners, uint32_t count, bool *told)
{
	uint16_t at = group;
	bool somebody = false;

	for (uint32_t i = 0; i < count; i++)
		told[i] = false;
	for (; survey_is_used(s, at); at = s->group[at].parent)
		somebody |= tell_group(at, level, at != group, somebody, listeners, count, told);
}

/* The index of the n bytes at `word` in a list of `count`, -EINVAL. */
static int look_up(const char *word, size_t n, const char *const *list, int count)
{
	for (int i = 0; i < count; i++)
		if (strlen(list[i]) == n && memcmp(list[i], word, n) == 0)
			return i;
	return -EINVAL;
}

int pressure_parse(const char *text, enum pressure_level *ret_level, enum pressure_mode *ret_mode)
{
	static const char *const levels[] = { "low", "medium", "critical" };
	static const char *const modes[] = { "default", "hierarchy", "local" };
	char spec[PRESSURE_TEXT_MAX + 1];
	size_t n;
	int level, mode = PRESSURE_DEFAULT;

	(void)snprintf(spec, sizeof(spec), "%s", text);
	n = strcspn(spec, ",");
	level = look_up(spec, n, levels, 3);
	if (spec[n])
		mode = look_up(spec + n + 1, strcspn(spec + n + 1, ","), modes, 3);
	if (level < 0 || mode < 0)
		return -EINVAL;
	*ret_level = (enum pressure_level)level;
	*ret_mode = (enum pressure_mode)mode;
	return 0;
}
