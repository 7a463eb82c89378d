/* SPDX-License-Identifier: MIT */
/* Whether a program file can carry the preload library, by its ELF header alone. */
#ifndef ACCOUNTING_ELF_H
#define ACCOUNTING_ELF_H

enum elf_kind {
	ELF_PRELOADABLE,
	ELF_STATIC,	 /* no dynamic linker: static and most Go programs */
	ELF_MUSL,	 /* musl's dynamic linker exits with 127 on our symbols */
	ELF_OTHER_CLASS, /* 32-bit, or of another machine */
	ELF_SECURE,	 /* setuid, setgid or with capabilities: the dynamic linker drops preloads */
	ELF_SANITIZER,	 /* ASan and its like refuse to start behind another library */
	ELF_NOT_ELF,	 /* no program that we know; the kernel or a shell decides */
};

/* Looks at the file, and behind "#!" at its interpreter. A file that cannot be read is ELF_NOT_ELF.
 * Async-signal-safe, allocates nothing; about 5 us. Keeps errno. */
enum elf_kind elf_classify(const char *path);

/* The same for an open file. */
enum elf_kind elf_classify_fd(int fd);

/* Finds `file` as execvp does, in `path_list` ($PATH; NULL: the default), into buf. NULL when there is no
 * such program. */
const char *elf_search(const char *file, const char *path_list, char *buf, unsigned long size);

/* A few words for people: "statically linked". */
const char *elf_kind_words(enum elf_kind kind);

#endif
