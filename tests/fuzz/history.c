/* SPDX-License-Identifier: MIT */
/* The history that an older daemon has left, damaged: what is still there is told, and new things are added. */
#include "tests/fuzz/fuzz.h"

#include "tests/unit/controld_fixture.h"

#include <sys/mman.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}

/* where: the header, records, events; each as far as an offset reaches. */
static void damage(const char *dir, const uint8_t *data, size_t size)
{
	struct fuzz_damage d;
	char path[256], *file;
	off_t end;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, HISTORY_NAME);
	fd = open(path, O_RDWR | O_CLOEXEC);
	end = lseek(fd, 0, SEEK_END);
	file = mmap(NULL, (size_t)end, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (file == MAP_FAILED)
		abort();
	while (fuzz_next_damage(&data, &size, &d))
		fuzz_damage_in(file + (d.where % 64) * ((size_t)end / 64), d.where ? 65536 : 64, &d);
	(void)munmap(file, (size_t)end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	(void)fixture_setup(NULL);
	json_decref(fixture_do("create", "\"group\":\"/a\""));
	json_decref(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"64M\"}"));
	fixture_pass(2000);
	history_close(fixture.served);
	damage(fixture.rundir.path, data, size);
	if (history_open(fixture.served))
		abort();
	json_decref(fixture_do("set", "\"group\":\"/a\",\"values\":{\"memory.max\":\"32M\"}"));
	fixture_pass(2000);
	json_decref(fixture_ask("history", "\"group\":\"/a\""));
	json_decref(fixture_ask("events", "\"group\":\"/\""));
	(void)fixture_teardown(NULL);
	return 0;
}
