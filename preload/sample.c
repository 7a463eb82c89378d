/* SPDX-License-Identifier: MIT */
/* Which bytes are sampled. libm is not there: the two functions needed are written out. */
#include "preload/sample.h"

#include "accounting/clock.h"

#include <string.h>

static __thread uint64_t random_state;
static __thread int64_t until_next;
static __thread uint64_t drawn_with; /* 0: nothing is drawn yet */

/* splitmix64: any seed is good. */
static uint64_t random_word(void)
{
	uint64_t x;

	if (__builtin_expect(random_state == 0, 0))
		random_state = clock_now_ns() ^ (uint64_t)&random_state;
	x = random_state += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* -ln of a number in (0, 1], within 1e-9. */
static double minus_log(double u)
{
	uint64_t bits;
	int exponent;
	double m, s, s2;

	memcpy(&bits, &u, sizeof(bits));
	exponent = (int)(bits >> 52) - 1023;
	bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
	memcpy(&m, &bits, sizeof(m));
	if (m > 1.4142135623730951) {
		m *= 0.5;
		exponent++;
	}
	s = (m - 1) / (m + 1);
	s2 = s * s;
	return -(exponent * 0.6931471805599453 +
		 2 * s * (1 + s2 * (1 / 3.0 + s2 * (1 / 5.0 + s2 * (1 / 7.0 + s2 * (1 / 9.0 + s2 / 11.0))))));
}

/* 1 - e^-x for x >= 0: by halving x until a short series does, then 1-e^-2y = q(2-q). */
static double one_minus_exp(double x)
{
	unsigned halvings = 0;
	double q;

	if (x > 40)
		return 1;
	for (; x > 0.03; halvings++)
		x *= 0.5;
	q = x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4 * (1 - x / 5))));
	for (; halvings; halvings--)
		q *= 2 - q;
	return q;
}

uint64_t sample_wait(uint64_t mean)
{
	double u = (double)((random_word() >> 11) + 1) * 0x1p-53;

	return (uint64_t)(minus_log(u) * (double)mean) + 1;
}

struct sample_weight sample_weigh(uint64_t size, uint64_t mean)
{
	double chance = one_minus_exp((double)size / (double)mean);
	double bytes = (double)size / chance;

	if (size == 0)
		return (struct sample_weight){ 0 };
	return (struct sample_weight){
		.bytes = (uint64_t)(bytes + 0.5),
		.count = (uint64_t)(256 / chance + 0.5),
		.spread = (uint64_t)((1 - chance) * bytes * bytes * 0x1p-16 + 0.5),
	};
}

bool sample_halve(struct sample_weight *w)
{
	double chance = 256 / (double)w->count;
	double bytes = 2 * (double)w->bytes;

	if (random_word() >> 63)
		return false;
	w->bytes *= 2;
	w->count *= 2;
	w->spread = (uint64_t)((1 - chance / 2) * bytes * bytes * 0x1p-16 + 0.5);
	return true;
}

uint64_t sample_hits(uint64_t size, uint64_t mean)
{
	uint64_t hit_with = drawn_with;

	if (!hit_with) {
		hit_with = mean;
		until_next = (int64_t)sample_wait(mean);
		drawn_with = mean;
	}
	if ((int64_t)size < until_next) {
		until_next -= (int64_t)size;
		return 0;
	}
	until_next = (int64_t)sample_wait(mean); /* without memory: the rest of this block does not matter */
	drawn_with = mean;
	return hit_with;
}

static uint64_t unit_of(char c)
{
	switch (c) {
	case 'k':
	case 'K':
		return 1u << 10;
	case 'm':
	case 'M':
		return 1u << 20;
	case 'g':
	case 'G':
		return 1u << 30;
	default:
		return 1;
	}
}

uint64_t sample_parse_rate(const char *text)
{
	uint64_t n = 0;

	if (*text < '0' || *text > '9')
		return strcmp(text, "off") == 0 || strcmp(text, "no") == 0 ? 0 : SAMPLE_RATE_DEFAULT;
	for (; *text >= '0' && *text <= '9'; text++)
		n = n < SAMPLE_RATE_MAX ? n * 10 + (uint64_t)(*text - '0') : n;
	n *= unit_of(*text);
	if (n <= 1)
		return n * SAMPLE_RATE_DEFAULT;
	return n < SAMPLE_RATE_MIN ? SAMPLE_RATE_MIN : n > SAMPLE_RATE_MAX ? SAMPLE_RATE_MAX : n;
}
