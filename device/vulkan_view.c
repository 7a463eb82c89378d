/* SPDX-License-Identifier: MIT */
/* What a Vulkan program is told of a device's heaps and of its budget: the driver answers first,
 * and only what is more than the group may have is lowered. */
#include "device/view.h"
#include "device/vulkan.h"

static void show(const struct device_share *share, struct vk_memories *m, struct vk_budget *b)
{
	for (uint32_t h = 0; h < m->heaps && h < VK_HEAPS_MAX; h++) {
		uint64_t left = UINT64_MAX;

		if (!(m->heap[h].flags & VK_DEVICE_LOCAL))
			continue;
		view_fit(share, &left, &m->heap[h].size);
		if (!b)
			continue;
		left += share->used;
		if (left > m->heap[h].size)
			left = m->heap[h].size;
		if (!b->budget[h] || left < b->budget[h])
			b->budget[h] = left ? left : 1; /* it must not be 0 */
		b->usage[h] = share->used;
	}
}

static bool share_of(vk_handle physical, struct device_share *ret)
{
	int region = vulkan_region(vulkan_instance_of(physical), physical);

	return region > 0 && device_charge_share(region, ret);
}

void vulkan_show_memories(vk_handle physical, struct vk_memories *ret)
{
	struct device_share share;

	vulkan_instance_of(physical)->memories(physical, ret);
	if (ret && share_of(physical, &share))
		show(&share, ret, NULL);
}

static struct vk_budget *budget_in(struct vk_chain *c)
{
	while (c && c->type != VK_BUDGET)
		c = c->next;
	return (struct vk_budget *)c;
}

static void show2(vk_handle physical, struct vk_memories2 *ret)
{
	struct device_share share;

	if (ret && share_of(physical, &share))
		show(&share, &ret->memories, budget_in(ret->chain.next));
}

void vulkan_show_memories2(vk_handle physical, struct vk_memories2 *ret)
{
	vulkan_instance_of(physical)->memories2(physical, ret);
	show2(physical, ret);
}

void vulkan_show_memories2_khr(vk_handle physical, struct vk_memories2 *ret)
{
	vulkan_instance_of(physical)->memories2_khr(physical, ret);
	show2(physical, ret);
}
