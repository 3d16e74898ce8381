/* A host with habits of its own: default signals, a log pipe that nobody reads, flush-to-zero and another rounding
 * mode, a German locale, no standard streams. It must live, find everything as it left it after each call, and get the
 * same pixels, PNG and texts as a host without habits.
 *
 *     guest HABIT MODEL_FOLDER BACKEND
 *
 * Exit code 0: as it should be; 1: not; 77: the habit cannot be had on this machine, and why is printed. */
#define _GNU_SOURCE
#include "gameforge/gameforge.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* Where complaints go when the streams are closed. */
static int report_fd = 2;
static int failures = 0;

static void complain(const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  if (length > (int)sizeof text - 1) length = (int)sizeof text - 1;
  ++failures;
  if (write(report_fd, text, (size_t)length) < 0 || write(report_fd, "\n", 1) < 0) failures += 1000;
}

static void say(const char* text) {
  if (write(report_fd, text, strlen(text)) < 0 || write(report_fd, "\n", 1) < 0) ++failures;
}

/* What a library must leave alone. */
typedef struct state {
  int rounding;
  unsigned sse_control; /* MXCSR without its sticky exception flags. */
  sigset_t mask;
  char locale[256];
  struct sigaction actions[32];
} state;

static void read_state(state* out) {
  int number;
  const char* name;
  memset(out, 0, sizeof *out);
  out->rounding = fegetround();
#if defined(__x86_64__)
  out->sse_control = _mm_getcsr() & ~0x3Fu;
#endif
  pthread_sigmask(SIG_SETMASK, NULL, &out->mask);
  name = setlocale(LC_ALL, NULL);
  strncpy(out->locale, name != NULL ? name : "", sizeof out->locale - 1);
  for (number = 1; number < 32; ++number) {
    if (number != SIGKILL && number != SIGSTOP) sigaction(number, NULL, &out->actions[number]);
  }
}

static state before;

static void compare_state(const char* call) {
  state now;
  int number;
  read_state(&now);
  if (now.rounding != before.rounding)
    complain("%s left the rounding mode %d, not %d", call, now.rounding, before.rounding);
  if (now.sse_control != before.sse_control) {
    complain("%s left MXCSR %#x, not %#x", call, now.sse_control, before.sse_control);
  }
  if (strcmp(now.locale, before.locale) != 0)
    complain("%s left the locale %s, not %s", call, now.locale, before.locale);
  for (number = 1; number < 32; ++number) {
    if (sigismember(&now.mask, number) != sigismember(&before.mask, number))
      complain("%s left signal %d in another mask", call, number);
    if (now.actions[number].sa_handler != before.actions[number].sa_handler)
      complain("%s left another handler of signal %d", call, number);
  }
}

/* Every call goes through this. */
static gf_status checked(const char* call, gf_status status, gf_status expected) {
  compare_state(call);
  if (status != expected) {
    complain("%s gave %d (%s), not %d: %s", call, (int)status, gf_status_name((uint32_t)status), (int)expected,
             gf_last_error_message());
  }
  return status;
}
#define CALL(call) checked(#call, (call), GF_OK)

/* What one generation gave; compared byte by byte. */
typedef struct picture {
  uint8_t* pixels;
  uint64_t pixel_bytes;
  uint8_t* png;
  uint64_t png_bytes;
  char recipe[4096];
} picture;

static int log_pipe = -1;
static int log_lines = 0;

/* A host's sink that writes where nobody reads any more. On a thread of its own it would be killed by SIGPIPE. */
static void log_to_pipe(void* user_data, const gf_log_record* record, const char* module, const char* message) {
  (void)user_data;
  (void)record;
  (void)module;
  __atomic_add_fetch(&log_lines, 1, __ATOMIC_RELAXED);
  if (log_pipe >= 0 && write(log_pipe, message, strlen(message)) >= 0) complain("the log pipe could be written to");
}

/* The threads of the library, by their names; each must block every signal that can be blocked. */
static int count_threads(void) {
  DIR* tasks = opendir("/proc/self/task");
  struct dirent* entry;
  int threads = 0;
  if (tasks == NULL) return 0;
  while ((entry = readdir(tasks)) != NULL) {
    char path[300];
    char line[256];
    char name[64] = "";
    FILE* status;
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == (int)getpid()) continue;
    snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
    status = fopen(path, "r");
    if (status == NULL) continue;
    while (fgets(line, sizeof line, status) != NULL) {
      unsigned long long blocked;
      if (sscanf(line, "Name: %63s", name) == 1) continue;
      if (sscanf(line, "SigBlk: %llx", &blocked) != 1) continue;
      if (strncmp(name, "gf", 2) != 0) continue; /* Not named yet, or a sanitizer's own. */
      ++threads;
      /* 1 to 31 but SIGKILL (9) and SIGSTOP (19). */
      if ((blocked & 0x7FFBFEFFull) != 0x7FFBFEFFull) complain("the thread %s blocks only %llx", name, blocked);
    }
    fclose(status);
  }
  closedir(tasks);
  return threads;
}

static void generate(const char* folder, const char* backend, picture* out) {
  gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
  gf_request request = GF_REQUEST_INIT;
  gf_png_options png = GF_PNG_OPTIONS_INIT;
  gf_job_info info = GF_JOB_INFO_INIT;
  gf_image_info image_info = GF_IMAGE_INFO_INIT;
  gf_event event = GF_EVENT_INIT;
  gf_engine* engine = NULL;
  gf_image* image = NULL;
  gf_image* large = NULL;
  gf_job_id job;
  const uint8_t* pixels = NULL;
  char* report;
  uint64_t size;

  memset(out, 0, sizeof *out);
  options.model_folders = &folder;
  options.model_folder_count = 1;
  options.backend_path = backend;
  options.log_level = GF_LOG_DEBUG;
  options.log_callback = log_to_pipe;
  if (CALL(gf_engine_open(&options, &engine)) != GF_OK) return;

  request.model = "fake";
  request.prompt = "a red potion";
  request.width_px = 32;
  request.height_px = 32;
  request.steps = 4;
  request.seed = 42;
  request.cfg_scale = 7.1;
  request.guidance_rescale = 0.7;
  CALL(gf_engine_submit(engine, &request, &job));
  CALL(gf_job_wait(engine, &job, 60 * 1000000, &info));
  /* Intake, executor and log, which have names since they have done their work. */
  if (count_threads() < 3) complain("only %d threads of the library were found", count_threads());
  if (info.status != GF_OK) {
    char why[2048] = "";
    size = sizeof why;
    gf_job_error_json(engine, &job, why, &size);
    complain("the job ended with %u: %s", info.status, why);
  }
  while (gf_engine_poll(engine, &event) == GF_OK) compare_state("gf_engine_poll");
  checked("gf_engine_poll", gf_engine_poll(engine, &event), GF_ERR_WOULD_BLOCK);

  if (CALL(gf_job_image(engine, &job, 0, &image)) == GF_OK) {
    CALL(gf_image_describe(image, &image_info));
    CALL(gf_image_pixels(image, &pixels));
    out->pixel_bytes = image_info.byte_count;
    out->pixels = malloc(out->pixel_bytes);
    memcpy(out->pixels, pixels, out->pixel_bytes);
    size = sizeof out->recipe;
    CALL(gf_job_parameters_text(engine, &job, 0, out->recipe, &size));
    if (strstr(out->recipe, "CFG scale: 7.1") == NULL)
      complain("the recipe has no CFG scale: 7.1 but: %s", out->recipe);
    png.parameters = out->recipe;
    CALL(gf_image_upscale(image, 3, &large));
    CALL(gf_image_encode_png(large, &png, NULL, &out->png_bytes));
    out->png = malloc(out->png_bytes);
    CALL(gf_image_encode_png(large, &png, out->png, &out->png_bytes));
    CALL(gf_image_release(large));
  }
  CALL(gf_job_report_json(engine, &job, NULL, &size));
  report = malloc(size);
  CALL(gf_job_report_json(engine, &job, report, &size));
  if (strstr(report, "7.1") == NULL || strstr(report, "7,1") != NULL) complain("the report has no 7.1: %s", report);
  free(report);
  CALL(gf_engine_statistics_json(engine, NULL, &size));
  /* Failures too must leave everything as it was. */
  request.cfg_scale = -1;
  checked("gf_engine_submit", gf_engine_submit(engine, &request, &job), GF_ERR_INVALID_ARGUMENT);
  CALL(gf_engine_close(engine, 30 * 1000000));
  CALL(gf_image_release(image));
}

static void free_picture(picture* one) {
  free(one->pixels);
  free(one->png);
}

static void compare_pictures(const picture* plain, const picture* habit) {
  if (plain->pixel_bytes == 0 || plain->png_bytes == 0) complain("there is no picture to compare with");
  if (plain->pixel_bytes != habit->pixel_bytes || habit->pixels == NULL || plain->pixels == NULL ||
      memcmp(plain->pixels, habit->pixels, plain->pixel_bytes) != 0) {
    complain("the pixels differ");
  }
  if (strcmp(plain->recipe, habit->recipe) != 0) complain("the recipes differ: %s / %s", plain->recipe, habit->recipe);
  if (plain->png_bytes != habit->png_bytes || habit->png == NULL || plain->png == NULL ||
      memcmp(plain->png, habit->png, plain->png_bytes) != 0) {
    complain("the PNGs differ");
  }
}

static int take_german_locale(void) {
  static const char* const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_AT.UTF-8",
                                      "de_CH.UTF-8", "de_DE",      "fr_FR.UTF-8"};
  size_t index;
  for (index = 0; index < sizeof names / sizeof *names; ++index) {
    if (setlocale(LC_ALL, names[index]) != NULL) {
      char number[32];
      snprintf(number, sizeof number, "%.1f", 7.1);
      if (strcmp(number, "7,1") == 0) return 1;
    }
  }
  return 0;
}

int main(int argc, char** argv) {
  picture plain;
  picture habit;
  const char* name = argc > 1 ? argv[1] : "";
  int sentinels[2] = {-1, -1};
  char sentinel_path[4096];

  if (argc != 4) {
    say("usage: guest HABIT MODEL_FOLDER BACKEND");
    return 1;
  }
  report_fd = fcntl(2, F_DUPFD_CLOEXEC, 100);
  if (report_fd < 0) return 1;

  read_state(&before);
  generate(argv[2], argv[3], &plain);

  if (strcmp(name, "pipe") == 0) {
    /* SIGPIPE keeps its default, which ends the process. */
    int ends[2];
    struct sigaction action;
    sigaction(SIGPIPE, NULL, &action);
    if (action.sa_handler != SIG_DFL) signal(SIGPIPE, SIG_DFL);
    if (pipe(ends) != 0) return 1;
    close(ends[0]);
    log_pipe = ends[1];
  } else if (strcmp(name, "float") == 0) {
    fesetround(FE_UPWARD);
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() | 0x8040u); /* Flush to zero, denormals are zero. */
#endif
  } else if (strcmp(name, "locale") == 0) {
    if (!take_german_locale()) {
      say("skipped: no locale with a decimal comma is installed (Debian: locales, then locale-gen de_DE.UTF-8)");
      return 77;
    }
  } else if (strcmp(name, "streams") == 0) {
    /* Closed, and their numbers taken by files that nobody may write to. */
    int file;
    fflush(NULL);
    close(0);
    close(1);
    close(2);
    file = open("/dev/null", O_RDONLY);
    if (file != 0) complain("standard input is %d", file);
    snprintf(sentinel_path, sizeof sentinel_path, "%s/streams-XXXXXX", argv[2]);
    sentinels[0] = mkstemp(sentinel_path);
    sentinels[1] = open(sentinel_path, O_RDWR | O_APPEND);
    if (sentinels[0] != 1 || sentinels[1] != 2) complain("the streams are %d and %d", sentinels[0], sentinels[1]);
  } else if (strcmp(name, "closed") == 0) {
    fflush(NULL);
    close(0);
    close(1);
    close(2);
  } else {
    complain("%s is no habit", name);
  }

  read_state(&before);
  generate(argv[2], argv[3], &habit);
  compare_state("everything");
  fesetround(FE_TONEAREST);
  compare_pictures(&plain, &habit);
  if (log_lines == 0) complain("no log line came");
  if (sentinels[0] == 1) {
    struct stat file;
    if (fstat(1, &file) != 0 || file.st_size != 0)
      complain("%ld bytes were written to the streams", (long)file.st_size);
    unlink(sentinel_path);
  }
  free_picture(&plain);
  free_picture(&habit);
  if (failures == 0) say("the host lives, and the pixels are the same");
  return failures == 0 ? 0 : 1;
}
