/* SPDX-License-Identifier: MIT */
/* The sampled small blocks that live, by address. */
#include "preload/sampled.h"

#define KEY_SHIFT 20 /* an address's lowest 3 bits are 0 */

static mc_word *row_of(struct sampled *s, uint64_t address)
{
	return s->slot[(address >> 12) % SAMPLED_ROWS];
}

static uint64_t key_of(uint64_t address)
{
	return address >> 3 << KEY_SHIFT;
}

static uint32_t number_of(uint64_t entry)
{
	return (uint32_t)entry & (SAMPLED_NUMBERS - 1);
}

static bool is_of_page(uint64_t entry, uint64_t address)
{
	return entry && entry >> (KEY_SHIFT + 9) == address >> 12;
}

static bool put_in(mc_word *row, uint64_t entry)
{
	for (unsigned i = 0; i < SAMPLED_IN_ROW; i++) {
		uint64_t none = 0;

		if (mc_load_relaxed(&row[i]) == 0 && mc_cas_full(&row[i], &none, entry))
			return true;
	}
	return false;
}

bool sampled_put(struct sampled *s, uint64_t address, uint32_t number, uint32_t *ret_old)
{
	bool others;

	*ret_old = sampled_take(s, address, &others);
	return put_in(row_of(s, address), key_of(address) | number);
}

uint32_t sampled_take(struct sampled *s, uint64_t address, bool *ret_has_others)
{
	mc_word *row = row_of(s, address);
	uint64_t key = key_of(address);
	uint32_t found = 0;
	bool others = false;

	for (unsigned i = 0; i < SAMPLED_IN_ROW; i++) {
		uint64_t entry = mc_load_acquire(&row[i]);

		if ((entry ^ key) >> (KEY_SHIFT + 9) || !entry) /* of another page */
			continue;
		if ((entry ^ key) >> KEY_SHIFT == 0 && mc_cas_full(&row[i], &entry, 0))
			found = number_of(entry);
		else
			others = true;
	}
	*ret_has_others = others;
	return found;
}

void sampled_ask_page(struct sampled *s, uint64_t address, sampled_stays_fn *is_in_question, sampled_stays_fn *stays,
		      sampled_end_fn *end)
{
	mc_word *row = row_of(s, address);

	for (unsigned i = 0; i < SAMPLED_IN_ROW; i++) {
		uint64_t entry = mc_load_acquire(&row[i]);

		if (!is_of_page(entry, address) || !is_in_question(number_of(entry)) ||
		    !mc_cas_full(&row[i], &entry, 0))
			continue;
		if (stays(number_of(entry)) && !put_in(row, entry))
			end(number_of(entry));
	}
}

bool sampled_has_page(struct sampled *s, uint64_t address)
{
	mc_word *row = row_of(s, address);

	for (unsigned i = 0; i < SAMPLED_IN_ROW; i++)
		if (is_of_page(mc_load_full(&row[i]), address))
			return true;
	return false;
}
