/* Notes the size of a file whenever it was synced: what a power cut leaves of it at least. Loaded before a process by LD_PRELOAD.
   With FSYNC_IMAGES, a folder, it keeps the file there as of that sync, for one that is also written in its middle; of a folder
   its names. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The file is read by its own descriptor: closing another one would let go of the locks that the process has on it. */
static int copied(int fd, const char *link, int folder, const char *to)
{
    char piece[1 << 16];
    ssize_t size = 0;
    int whole = 1, out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out < 0) return 0;
    if (folder) {
        DIR *names = opendir(link);
        for (struct dirent *each; names && (each = readdir(names));)
            if (dprintf(out, "%s\n", each->d_name) < 0) whole = 0;
        if (names) closedir(names);
        else whole = 0;
    } else {
        for (off_t at = 0; whole && (size = pread(fd, piece, sizeof piece, at)) > 0; at += size)
            whole = write(out, piece, size) == size;
    }
    close(out);
    return whole && size == 0;
}

static void note(const char *log, const struct stat *before, const char *path)
{
    char line[4200];
    int out = open(log, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (out < 0) return;
    int length = snprintf(line, sizeof line, "%lld %s\n", (long long)before->st_size, path);
    if (write(out, line, length) < 0) { /* nobody can be told */ }
    close(out);
}

static int noted(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct stat before;
    char link[64], path[4096], image[8200], part[8200];
    const char *log = getenv("FSYNC_LOG"), *images = getenv("FSYNC_IMAGES");
    /* Only what was written before the call began is sure to be on the disk. */
    int known = fstat(fd, &before) == 0 && before.st_nlink > 0, file = known && S_ISREG(before.st_mode);
    int folder = known && S_ISDIR(before.st_mode) && images, one = -1, kept = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = file || folder ? readlink(link, path, sizeof path - 1) : -1;
    if (size <= 0) return real(fd);
    path[size] = 0;
    if (images) {
        int start = snprintf(image, sizeof image, "%s/", images);
        snprintf(part, sizeof part, "%s/one", images);
        /* One at a time, so that no older image comes after a newer one. */
        one = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (one >= 0) flock(one, LOCK_EX);
        snprintf(image + start, sizeof image - start, "%s", path);
        for (char *at = image + start; *at; at++)
            if (*at == '/') *at = '%';
        snprintf(part, sizeof part, "%s/part", images);
        kept = one >= 0 && copied(fd, link, folder, part);
    }
    int result = real(fd);
    if (kept && result == 0 && rename(part, image) != 0) { /* the one before stays */ }
    if (one >= 0) close(one);
    if (result == 0 && file && log) note(log, &before, path);
    return result;
}

int fsync(int fd) { return noted("fsync", fd); }
int fdatasync(int fd) { return noted("fdatasync", fd); }
