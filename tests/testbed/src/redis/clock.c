/* In place of the clock of the C library: that of the system, and as many seconds more as the file has that BECKON_CLOCK names. It is
 * loaded before it (LD_PRELOAD), and needs no header. */
struct timeval { long seconds, microseconds; };
extern int open(const char *path, int flags, ...);
extern void *mmap(void *address, unsigned long length, int protection, int flags, int file, long offset);
extern char *getenv(const char *name);
extern int clock_gettime(int clock, struct timeval *time);

static volatile long *ahead;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("BECKON_CLOCK");
  int file = path ? open(path, 0) : -1;
  if (file >= 0) ahead = mmap(0, sizeof *ahead, 1, 1, file, 0);
}

int gettimeofday(struct timeval *time, void *zone) {
  (void)zone;
  int failed = clock_gettime(0, time);
  time->microseconds /= 1000;
  if (ahead) time->seconds += *ahead;
  return failed;
}

long time(long *into) {
  struct timeval now;
  gettimeofday(&now, 0);
  if (into) *into = now.seconds;
  return now.seconds;
}
