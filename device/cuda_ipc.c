/* SPDX-License-Identifier: MIT */
/* Memory of plain allocations that another process opens by a handle of 64 bytes: charged to its
 * creator, then to who still has it open. */
#include "device/cuda.h"

/* The allocation that an address lies in. */
static cu_ptr base_of(struct copy *copy, cu_ptr ptr)
{
	struct cuda_devices *d = cuda_devices(copy);
	size_t size;
	cu_ptr base;

	return d->address_range && d->address_range(&base, &size, ptr) == 0 ? base : ptr;
}

/* Of one allocation there may be handles of several addresses: the first that was asked for is its
 * name. */
int on_cuIpcGetMemHandle(struct copy *copy, struct cu_ipc_handle *handle, cu_ptr ptr)
{
	int result = REAL(copy, cuIpcGetMemHandle)(handle, ptr);
	uint64_t name;
	struct ledger_entry e;

	if (result || !handle || !ledger_find(LEDGER_POINTER, base_of(copy, ptr), &e) || !e.paid.units)
		return result;
	name = heirs_name_of_bytes(handle, sizeof(*handle));
	if (e.of == name)
		return result;
	if (!e.of && heirs_lend(&e, name))
		(void)ledger_set_of(LEDGER_POINTER, e.key, name);
	else
		device_member_mark_partial();
	return result;
}

static bool open_again(struct ledger_entry *e, void *arg)
{
	(void)arg;
	e->handles++;
	return false;
}

static void opened(cu_ptr ptr, const struct cu_ipc_handle *handle)
{
	struct ledger_entry e = {
		.key = ptr, .of = heirs_name_of_bytes(handle, sizeof(*handle)), .kind = LEDGER_OPENED, .handles = 1
	};

	if (ledger_change(LEDGER_OPENED, ptr, open_again, NULL, NULL))
		return;
	if (heirs_borrow(&e.of))
		(void)ledger_put(&e);
}

int on_cuIpcOpenMemHandle(struct copy *copy, cu_ptr *ptr, struct cu_ipc_handle handle, unsigned flags)
{
	int result = REAL(copy, cuIpcOpenMemHandle)(ptr, handle, flags);

	if (!result && ptr)
		opened(*ptr, &handle);
	return result;
}

int on_cuIpcOpenMemHandle_v2(struct copy *copy, cu_ptr *ptr, struct cu_ipc_handle handle, unsigned flags)
{
	int result = REAL(copy, cuIpcOpenMemHandle_v2)(ptr, handle, flags);

	if (!result && ptr)
		opened(*ptr, &handle);
	return result;
}

static bool close_one(struct ledger_entry *e, void *arg)
{
	(void)arg;
	e->handles -= e->handles != 0;
	return e->handles == 0;
}

int on_cuIpcCloseMemHandle(struct copy *copy, cu_ptr ptr)
{
	struct ledger_entry e;
	bool known = ledger_change(LEDGER_OPENED, ptr, close_one, NULL, &e);
	int result = REAL(copy, cuIpcCloseMemHandle)(ptr);

	if (known && result && e.handles)
		(void)ledger_change(LEDGER_OPENED, ptr, open_again, NULL, NULL);
	else if (known && result)
		e.handles = 1, (void)ledger_put(&e);
	else if (known && e.handles == 0)
		heirs_leave(e.of);
	return result;
}
