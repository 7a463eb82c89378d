/* SPDX-License-Identifier: MIT */
/* Whether a program file can carry the preload library. Tables of a file are read where they lie in a
 * mapping of it; every offset is checked, for the file may be anything. */
#include "accounting/elf.h"

#include "accounting/sys.h"

#include <elf.h>
#include <string.h>

#define INTERPRETERS_MAX 4 /* as BINPRM_BUF's recursion in the kernel */

#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#else
#define OWN_MACHINE EM_NONE
#endif

struct image {
	const char *at;
	size_t size;
};

static const void *part(const struct image *image, uint64_t offset, uint64_t size)
{
	if (offset > image->size || size > image->size - offset)
		return NULL;
	return image->at + offset;
}

/* The same of records that are read as such. */
static const void *records(const struct image *image, uint64_t offset, uint64_t size)
{
	return offset % sizeof(uint64_t) ? NULL : part(image, offset, size);
}

static const Elf64_Phdr *find_segment(const struct image *image, uint32_t type)
{
	const Elf64_Ehdr *head = part(image, 0, sizeof(*head));
	const Elf64_Phdr *ph = records(image, head->e_phoff, (uint64_t)head->e_phnum * sizeof(*ph));

	for (unsigned i = 0; ph && i < head->e_phnum; i++)
		if (ph[i].p_type == type)
			return &ph[i];
	return NULL;
}

/* Where an address of the loaded program lies in the file. */
static uint64_t file_offset(const struct image *image, uint64_t address)
{
	const Elf64_Ehdr *head = part(image, 0, sizeof(*head));
	const Elf64_Phdr *ph = records(image, head->e_phoff, (uint64_t)head->e_phnum * sizeof(*ph));

	for (unsigned i = 0; ph && i < head->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && address >= ph[i].p_vaddr && address - ph[i].p_vaddr < ph[i].p_filesz)
			return address - ph[i].p_vaddr + ph[i].p_offset;
	return UINT64_MAX;
}

/* The sanitizers' runtimes: wanted as libraries (gcc), or linked in and exporting their start (clang). */
static bool names_sanitizer(const char *strings, size_t size)
{
	static const char *const names[] = { "libasan.so",   "libtsan.so",  "liblsan.so",
					     "libhwasan.so", "__asan_init", "__tsan_init" };

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (memmem(strings, size, names[i], strlen(names[i])))
			return true;
	return false;
}

static bool is_sanitized(const struct image *image)
{
	const Elf64_Phdr *dynamic = find_segment(image, PT_DYNAMIC);
	const Elf64_Dyn *d = dynamic ? records(image, dynamic->p_offset, dynamic->p_filesz) : NULL;
	uint64_t table = 0;
	uint64_t size = 0;
	const char *strings;

	for (uint64_t i = 0; d && i < dynamic->p_filesz / sizeof(*d) && d[i].d_tag != DT_NULL; i++) {
		if (d[i].d_tag == DT_STRTAB)
			table = d[i].d_un.d_ptr;
		if (d[i].d_tag == DT_STRSZ)
			size = d[i].d_un.d_val;
	}
	strings = table ? part(image, file_offset(image, table), size) : NULL;
	return strings && names_sanitizer(strings, size);
}

static enum elf_kind classify_elf(const struct image *image)
{
	const Elf64_Ehdr *head = part(image, 0, sizeof(*head));
	const Elf64_Phdr *interpreter;
	const char *name;

	if (!head || head->e_ident[EI_CLASS] != ELFCLASS64 || head->e_machine != OWN_MACHINE)
		return ELF_OTHER_CLASS;
	interpreter = find_segment(image, PT_INTERP);
	if (!interpreter)
		return ELF_STATIC;
	name = part(image, interpreter->p_offset, interpreter->p_filesz);
	if (name && memmem(name, interpreter->p_filesz, "ld-musl", 7))
		return ELF_MUSL;
	return is_sanitized(image) ? ELF_SANITIZER : ELF_PRELOADABLE;
}

/* The kernel gives a new image AT_SECURE when ids change or capabilities come with the file. */
static bool is_secure(int fd, const struct stat *st)
{
	uid_t uid = (uid_t)sys_call3(SYS_getuid, 0, 0, 0);
	gid_t gid = (gid_t)sys_call3(SYS_getgid, 0, 0, 0);

	if ((st->st_mode & S_ISUID) && st->st_uid != uid)
		return true;
	if ((st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st->st_gid != gid)
		return true;
	return uid != 0 && sys_call6(SYS_fgetxattr, fd, (long)"security.capability", 0, 0, 0, 0) > 0;
}

/* The interpreter of a script, in buf. */
static bool read_script(const struct image *image, char *buf, size_t size)
{
	size_t at = 2;
	size_t n = 0;

	while (at < image->size && (image->at[at] == ' ' || image->at[at] == '\t'))
		at++;
	while (at < image->size && n + 1 < size && !memchr(" \t\n\r", image->at[at], 4))
		buf[n++] = image->at[at++];
	buf[n] = 0;
	return n > 0;
}

static enum elf_kind classify_path(const char *path, int depth);

static enum elf_kind classify_image(const struct image *image, int depth)
{
	char interpreter[256];

	if (image->size >= 4 && memcmp(image->at, ELFMAG, SELFMAG) == 0)
		return classify_elf(image);
	if (image->size >= 3 && memcmp(image->at, "#!", 2) == 0 && depth < INTERPRETERS_MAX &&
	    read_script(image, interpreter, sizeof(interpreter)))
		return classify_path(interpreter, depth + 1);
	return ELF_NOT_ELF;
}

static enum elf_kind classify_fd(int fd, int depth)
{
	struct stat st;
	struct image image;
	enum elf_kind kind;
	long at;

	if (sys_call3(SYS_fstat, fd, &st, 0) || !S_ISREG(st.st_mode) || st.st_size < 4)
		return ELF_NOT_ELF;
	if (is_secure(fd, &st))
		return ELF_SECURE;
	at = sys_mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (sys_is_error(at))
		return ELF_NOT_ELF;
	image.at = (const char *)at; /* NOLINT: the kernel's answer is an address */
	image.size = (size_t)st.st_size;
	kind = classify_image(&image, depth);
	(void)sys_munmap((void *)at, image.size); /* NOLINT */
	return kind;
}

static enum elf_kind classify_path(const char *path, int depth)
{
	int fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	enum elf_kind kind = ELF_NOT_ELF;

	if (fd < 0)
		return kind;
	kind = classify_fd(fd, depth);
	sys_close(fd);
	return kind;
}

enum elf_kind elf_classify(const char *path)
{
	return classify_path(path, 0);
}

enum elf_kind elf_classify_fd(int fd)
{
	return classify_fd(fd, 0);
}

static bool is_program(const char *path)
{
	struct stat st;

	return sys_call6(SYS_newfstatat, AT_FDCWD, (long)path, (long)&st, 0, 0, 0) == 0 && S_ISREG(st.st_mode) &&
	       sys_call6(SYS_faccessat, AT_FDCWD, (long)path, X_OK, 0, 0, 0) == 0;
}

const char *elf_search(const char *file, const char *path_list, char *buf, unsigned long size)
{
	size_t n = strlen(file);

	if (strchr(file, '/'))
		return file;
	if (!path_list)
		path_list = "/bin:/usr/bin"; /* as confstr(_CS_PATH) */
	while (n) {
		size_t dir = strcspn(path_list, ":");

		if (dir + n + 2 <= size) {
			char *to = mempcpy(buf, path_list, dir);

			if (dir)
				*to++ = '/';
			memcpy(to, file, n + 1);
			if (is_program(buf))
				return buf;
		}
		if (!path_list[dir])
			break;
		path_list += dir + 1;
	}
	return NULL;
}

const char *elf_kind_words(enum elf_kind kind)
{
	switch (kind) {
	case ELF_STATIC:
		return "statically linked";
	case ELF_MUSL:
		return "linked to musl";
	case ELF_OTHER_CLASS:
		return "built for another kind of machine";
	case ELF_SECURE:
		return "setuid or privileged by its file";
	case ELF_SANITIZER:
		return "built with a sanitizer";
	default:
		return "an ordinary program";
	}
}
