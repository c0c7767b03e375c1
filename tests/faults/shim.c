/* Faults on the border between a program and its system: a clock that is off, a volume that is full,
 * a slow disk, names that do not resolve, one thread that stands still. Preloaded into a program;
 * what goes wrong is read from a file that the experiment writes, at each call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The same as in shim.rs. */
struct control {
    int64_t clock_ns;  /* added to the real-time clock */
    int64_t sync_ms;   /* each sync lasts this much longer */
    int64_t full;      /* writes to files named so fail: no space */
    int64_t nameless;  /* no name resolves */
    int64_t asleep;    /* the thread of that name does not wake up */
    char file[32];
    char thread[32];
};

static struct control healthy;
static volatile struct control *control = &healthy;

__attribute__((constructor)) static void open_control(void)
{
    const char *path = getenv("FAULTS_CONTROL");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *shared = mmap(NULL, sizeof healthy, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED)
        control = shared;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_nsec + control->clock_ns % 1000000000;
        now->tv_sec += control->clock_ns / 1000000000;
        if (ns < 0) {
            ns += 1000000000;
            now->tv_sec -= 1;
        } else if (ns >= 1000000000) {
            ns -= 1000000000;
            now->tv_sec += 1;
        }
        now->tv_nsec = ns;
    }
    return (int)result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out)
        *out = exact.tv_sec;
    return exact.tv_sec;
}

/* Those who wait until a time of the shifted clock are to wait as long as they mean to. */
int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!real)
        real = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    struct timespec shifted = *until;
    /* A time of the monotonic clock is far smaller. */
    if (shifted.tv_sec > 1000000000)
        shifted.tv_sec -= control->clock_ns / 1000000000;
    return real(cond, mutex, &shifted);
}

int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                           const struct timespec *until)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    struct timespec shifted = *until;
    if (clock == CLOCK_REALTIME)
        shifted.tv_sec -= control->clock_ns / 1000000000;
    return real(cond, mutex, clock, &shifted);
}

static int is_full(int fd)
{
    char link[64], path[512];
    if (!control->full)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    return name && strstr(name, (const char *)control->file) != NULL;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    if (is_full(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
    if (is_full(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    return pwrite64(fd, bytes, count, at);
}

static void slow(void)
{
    if (control->sync_ms > 0)
        usleep((useconds_t)(control->sync_ms * 1000));
}

int fsync(int fd)
{
    slow();
    return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    slow();
    return (int)syscall(SYS_fdatasync, fd);
}

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (control->nameless)
        return EAI_AGAIN;
    if (!real)
        real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, result);
}

static void stand_still(void)
{
    char name[32] = "";
    const struct timespec moment = {0, 10000000};
    if (control->asleep && prctl(PR_GET_NAME, name) == 0 &&
        strcmp(name, (const char *)control->thread) == 0)
        while (control->asleep)
            syscall(SYS_nanosleep, &moment, NULL);
}

int nanosleep(const struct timespec *wanted, struct timespec *left)
{
    stand_still();
    return (int)syscall(SYS_nanosleep, wanted, left);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *wanted, struct timespec *left)
{
    stand_still();
    return syscall(SYS_clock_nanosleep, clock, flags, wanted, left) == 0 ? 0 : errno;
}
