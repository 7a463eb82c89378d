/* SPDX-License-Identifier: MIT */
/* A fuzz target's main in `make check`: its seeds, and mutations of them that are the same each time. A crash or a
 * hang fails the test. */
#include "tests/fuzz/fuzz.h"

#include "tests/lib/tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INPUT_MAX 65536u
#define MUTATIONS 100u

static uint64_t random_state;

/* xorshift64*, Vigna 2016. */
static uint32_t random_below(uint32_t n)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (uint32_t)(random_state * 0x2545f4914f6cdd1dull >> 32) % n;
}

static void mutate(uint8_t *input, size_t *size)
{
	static const uint8_t odd[] = { 0, 1, 0x7f, 0x80, 0xff, '"', '\n', '{' };

	for (uint32_t n = 1 + random_below(8); n; n--) {
		uint32_t at = *size ? random_below((uint32_t)*size) : 0;

		switch (*size ? random_below(4) : 3) {
		case 0:
			input[at] ^= (uint8_t)(1u << random_below(8));
			break;
		case 1:
			input[at] = odd[random_below(sizeof(odd))];
			break;
		case 2:
			*size = at; /* cut off */
			break;
		default:
			if (*size < INPUT_MAX)
				input[(*size)++] = (uint8_t)random_below(256);
		}
	}
}

static void replay(const uint8_t *seed, size_t size)
{
	static uint8_t input[INPUT_MAX];

	random_state = 88172645463325252ull;
	(void)LLVMFuzzerTestOneInput(seed, size);
	for (unsigned i = 0; i < MUTATIONS; i++) {
		size_t n = size;

		memcpy(input, seed, size);
		mutate(input, &n);
		(void)LLVMFuzzerTestOneInput(input, n);
	}
}

static bool replay_file(const char *folder, const char *name)
{
	static uint8_t seed[INPUT_MAX];
	char path[1024 + 256];
	ssize_t size;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	size = fd < 0 ? -1 : read(fd, seed, sizeof(seed));
	(void)close(fd);
	if (size >= 0)
		replay(seed, (size_t)size);
	return size >= 0;
}

static int is_seed(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
	const char *srcdir = getenv("srcdir"), *slash = strrchr(argv[0], '/'); /* NOLINT: one thread */
	const char *target = slash ? slash + 1 : argv[0];
	struct dirent **entry;
	char folder[1024];
	int n;

	(void)snprintf(folder, sizeof(folder), "%s/tests/fuzz/seeds/%s", srcdir ? srcdir : ".",
		       strncmp(target, "lt-", 3) == 0 ? target + 3 : target);
	if (LLVMFuzzerInitialize)
		(void)LLVMFuzzerInitialize(&argc, &argv);
	replay(NULL, 0);
	(void)tap_ok(true, "an empty input, and %u made from it", MUTATIONS);
	n = scandir(folder, &entry, is_seed, alphasort);
	for (int i = 0; i < n; i++)
		(void)tap_ok(replay_file(folder, entry[i]->d_name), "%s, and %u made from it", entry[i]->d_name,
			     MUTATIONS);
	return tap_end();
}
