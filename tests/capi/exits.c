/* Hosts that end while threads of theirs still log and jobs still run, without closing anything: no crash, no hang.
 *
 *     exits MODEL_FOLDER BACKEND ROUNDS      starts itself so often, each with another way to end
 *     exits MODEL_FOLDER BACKEND end WAY     is such a host */
#define _GNU_SOURCE
#include "gameforge/gameforge.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ways = 5, loggers = 3 };

static gf_engine* engine = NULL;
static gf_logger* logger = NULL;
static int begun = 0;

static void nap(long us) {
  struct timespec pause = {us / 1000000, us % 1000000 * 1000};
  nanosleep(&pause, NULL);
}

static void hear(void* user_data, const gf_log_record* record, const char* module, const char* message) {
  (void)record;
  *(size_t*)user_data += strlen(module) + strlen(message);
}

static void* log_for_ever(void* name) {
  for (;;) {
    const gf_log_value value = {GF_LOG_VALUE_TEXT, 0, "texts", 0, 0};
    gf_log_line line = GF_LOG_LINE_INIT;
    line.level = GF_LOG_INFO;
    line.module = (const char*)name;
    line.message = "a line with {}";
    line.arguments = &value;
    line.argument_count = 1;
    gf_logger_write(logger, &line);
    gf_logger_log(logger, GF_LOG_ERROR, (const char*)name, "an error");
    __atomic_add_fetch(&begun, 1, __ATOMIC_RELAXED);
  }
  return NULL;
}

static void* end_it(void* unused) {
  (void)unused;
  exit(0);
}

static void* close_all(void* unused) {
  gf_engine_close(engine, 1000000);
  gf_logger_close(logger, 1000000);
  return unused;
}

static void in_exit(void) {
  /* The last moment at which a host may call: after the destructors of its own objects. */
  gf_logger_log(logger, GF_LOG_INFO, "host", "good bye");
  gf_logger_flush(logger, 1000);
}

static int end_by(const char* folder, const char* backend, int way) {
  static size_t heard[2];
  static const char* const names[loggers] = {"one", "two", "three"};
  gf_logger_options options = GF_LOGGER_OPTIONS_INIT;
  gf_engine_options engine_options = GF_ENGINE_OPTIONS_INIT;
  gf_request request = GF_REQUEST_INIT;
  gf_job_id job;
  pthread_t thread;
  int index;
  options.callback = hear;
  options.user_data = &heard[0];
  options.poll_lines = 64;
  options.keep_crash_note = 1;
  engine_options.model_folders = &folder;
  engine_options.model_folder_count = 1;
  engine_options.backend_path = backend;
  engine_options.executor_count = 2;
  engine_options.log_level = GF_LOG_DEBUG;
  engine_options.keep_crash_note = 1;
  if (way % 2 == 0) {
    engine_options.log_callback = hear;
    engine_options.log_user_data = &heard[1];
  }
  request.model = "fake";
  request.prompt = "x";
  request.width_px = request.height_px = 32;
  request.steps = 50;
  if (gf_logger_open(&options, &logger) != GF_OK || gf_engine_open(&engine_options, &engine) != GF_OK) return 2;
  for (index = 0; index < 4; ++index) {
    if (gf_engine_submit(engine, &request, &job) != GF_OK) return 3;
  }
  if (way == 3 && atexit(in_exit) != 0) return 4;
  for (index = 0; index < loggers; ++index) {
    if (pthread_create(&thread, NULL, log_for_ever, (void*)names[index]) != 0) return 5;
  }
  /* In the middle of it, each time elsewhere. */
  while (__atomic_load_n(&begun, __ATOMIC_RELAXED) < 10) nap(100);
  nap((long)getpid() % 7 * 300);
  switch (way) {
    case 1: /* Another thread ends the process while this one calls in. */
      if (pthread_create(&thread, NULL, end_it, NULL) != 0) return 6;
      for (;;) gf_logger_flush(logger, 1000);
    case 2: /* While all is being closed. */
      if (pthread_create(&thread, NULL, close_all, NULL) != 0 || pthread_detach(thread) != 0) return 7;
      return 0;
    case 4: /* Closed in order, while threads still log to the handle that is gone. */
      close_all(NULL);
      return 0;
    default: /* 0: from main; 3: with a call on the way out. */
      return 0;
  }
}

/* Waits for a child, at most so long; kills it, by its number, when it hangs. */
static int ended_well(pid_t child, int round) {
  int tries;
  int status = 0;
  for (tries = 0; tries < 120000; ++tries) {
    const pid_t got = waitpid(child, &status, WNOHANG);
    if (got == child) break;
    if (got < 0 && errno != EINTR) return 0;
    nap(500);
  }
  if (tries == 120000) {
    fprintf(stderr, "round %d, way %d: the process hangs\n", round, round % ways);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return 0;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return 1;
  fprintf(stderr, "round %d, way %d: %s %d\n", round, round % ways,
          WIFSIGNALED(status) ? "killed by signal" : "exit code",
          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return 0;
}

int main(int argc, char** argv) {
  int round;
  int rounds;
  if (argc == 5 && strcmp(argv[3], "end") == 0) return end_by(argv[1], argv[2], atoi(argv[4]));
  if (argc != 4) return 1;
  rounds = atoi(argv[3]);
  for (round = 0; round < rounds; ++round) {
    char way[16];
    const pid_t child = fork();
    if (child < 0) return 1;
    if (child == 0) {
      snprintf(way, sizeof way, "%d", round % ways);
      execl("/proc/self/exe", argv[0], argv[1], argv[2], "end", way, (char*)NULL);
      _exit(127);
    }
    if (!ended_well(child, round)) return 1;
  }
  printf("%d processes ended in %d ways, none by a signal and none late\n", rounds, (int)ways);
  return 0;
}
