/* A host that loads the library, works with it on threads of its own and unloads it, again and again; those threads end
 * after that. The library's threads and files are gone each time, and nothing grows.
 *
 *     reload LIBRARY MODEL_FOLDER BACKEND ROUNDS */
#define _GNU_SOURCE
#include "gameforge/gameforge.h"

#include <dirent.h>
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int entries(const char* folder) {
  DIR* directory = opendir(folder);
  int count = 0;
  if (directory == NULL) return -1;
  while (readdir(directory) != NULL) ++count;
  closedir(directory);
  return count;
}

static void* do_nothing(void* unused) { return unused; }

/* Threads that were joined are gone from the kernel's list a moment later. */
static int settles_at(const char* folder, int wanted) {
  int tries;
  for (tries = 0; tries < 5000; ++tries) {
    struct timespec pause = {0, 1000000};
    if (entries(folder) <= wanted) return 1;
    nanosleep(&pause, NULL);
  }
  return 0;
}

/* What the host's own threads do, with functions that were found by name. */
struct calls {
  gf_engine* engine;
  gf_logger* logger;
  gf_aggregator* aggregator;
  gf_status (*engine_submit)(gf_engine*, const gf_request*, gf_job_id*);
  gf_status (*engine_poll)(gf_engine*, gf_event*);
  gf_status (*logger_log)(gf_logger*, uint32_t, const char*, const char*);
  gf_status (*aggregator_record)(gf_aggregator*, const gf_error_report*);
  const char* (*last_error_message)(void);
  pthread_barrier_t called;   /* All have called. */
  pthread_barrier_t unloaded; /* The library is closed and unloaded. */
  int failed;
};

enum { host_threads = 3 };

static void* call_then_outlive(void* given) {
  struct calls* calls = (struct calls*)given;
  gf_request request = GF_REQUEST_INIT;
  gf_error_report report = GF_ERROR_REPORT_INIT;
  gf_event event = GF_EVENT_INIT;
  gf_job_id job;
  request.model = "nobody";
  request.prompt = "again";
  report.status = GF_ERR_IO;
  report.message = "an error";
  if (calls->engine_submit(calls->engine, &request, &job) != GF_OK)
    __atomic_store_n(&calls->failed, 1, __ATOMIC_RELAXED);
  calls->engine_poll(calls->engine, &event);
  calls->engine_poll(NULL, &event); /* Gives the thread a last error. */
  if (strlen(calls->last_error_message()) == 0) __atomic_store_n(&calls->failed, 1, __ATOMIC_RELAXED);
  if (calls->logger_log(calls->logger, GF_LOG_INFO, "host", "a line") != GF_OK ||
      calls->aggregator_record(calls->aggregator, &report) != GF_OK) {
    __atomic_store_n(&calls->failed, 1, __ATOMIC_RELAXED);
  }
  pthread_barrier_wait(&calls->called);
  pthread_barrier_wait(&calls->unloaded);
  return NULL; /* What the library keeps for this thread ends here, after the library was unloaded. */
}

/* Bytes that are allocated and not freed; 0 where a sanitizer has its own allocator. */
static size_t live_bytes(void) { return mallinfo2().uordblks; }

/* A function pointer from dlsym without the cast that ISO C does not have. */
#define FIND(name) *(void**)&name = dlsym(library, "gf_" #name)

int main(int argc, char** argv) {
  int threads;
  int files = -1;
  long rounds;
  long round;
  size_t settled = 0;
  size_t most = 0;
  pthread_t first;
  if (argc != 5) return 1;
  /* A sanitizer starts a thread of its own with the first of ours: it shall be there before we count. */
  if (pthread_create(&first, NULL, do_nothing, NULL) != 0 || pthread_join(first, NULL) != 0) return 1;
  threads = entries("/proc/self/task");
  rounds = strtol(argv[4], NULL, 10);
  for (round = 0; round < rounds; ++round) {
    gf_status (*engine_open)(const gf_engine_options*, gf_engine**);
    gf_status (*engine_submit)(gf_engine*, const gf_request*, gf_job_id*);
    gf_status (*engine_close)(gf_engine*, int64_t);
    gf_status (*job_wait)(gf_engine*, const gf_job_id*, int64_t, gf_job_info*);
    gf_status (*engine_poll)(gf_engine*, gf_event*);
    gf_status (*logger_open)(const gf_logger_options*, gf_logger**);
    gf_status (*logger_log)(gf_logger*, uint32_t, const char*, const char*);
    gf_status (*logger_close)(gf_logger*, int64_t);
    gf_status (*aggregator_open)(const gf_aggregator_options*, gf_aggregator**);
    gf_status (*aggregator_record)(gf_aggregator*, const gf_error_report*);
    gf_status (*aggregator_close)(gf_aggregator*);
    const char* (*last_error_message)(void);
    struct calls calls;
    pthread_t host[host_threads];
    int number;
    gf_logger_options logger_options = GF_LOGGER_OPTIONS_INIT;
    gf_engine_options options = GF_ENGINE_OPTIONS_INIT;
    gf_request request = GF_REQUEST_INIT;
    gf_job_info info = GF_JOB_INFO_INIT;
    gf_event event = GF_EVENT_INIT;
    gf_engine* engine = NULL;
    gf_job_id job;
    gf_status status;
    const char* folder = argv[2];
    void* library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
      fprintf(stderr, "round %ld: %s\n", round, dlerror());
      return 1;
    }
    FIND(engine_open);
    FIND(engine_submit);
    FIND(engine_close);
    FIND(engine_poll);
    FIND(job_wait);
    FIND(last_error_message);
    FIND(logger_open);
    FIND(logger_log);
    FIND(logger_close);
    FIND(aggregator_open);
    FIND(aggregator_record);
    FIND(aggregator_close);
    options.model_folders = &folder;
    options.model_folder_count = 1;
    options.backend_path = argv[3];
    options.executor_count = 2;
    options.log_level = GF_LOG_DEBUG;
    logger_options.poll_lines = 16;
    memset(&calls, 0, sizeof calls);
    request.model = "fake";
    request.prompt = "again";
    request.width_px = request.height_px = 32;
    request.steps = 2;
    status = engine_open(&options, &engine);
    if (status == GF_OK) status = logger_open(&logger_options, &calls.logger);
    if (status == GF_OK) status = aggregator_open(NULL, &calls.aggregator);
    calls.engine = engine;
    calls.engine_submit = engine_submit;
    calls.engine_poll = engine_poll;
    calls.logger_log = logger_log;
    calls.aggregator_record = aggregator_record;
    calls.last_error_message = last_error_message;
    if (pthread_barrier_init(&calls.called, NULL, host_threads + 1) != 0 ||
        pthread_barrier_init(&calls.unloaded, NULL, host_threads + 1) != 0) {
      return 1;
    }
    for (number = 0; number < host_threads; ++number) {
      if (pthread_create(&host[number], NULL, call_then_outlive, &calls) != 0) return 1;
    }
    pthread_barrier_wait(&calls.called);
    if (calls.failed) {
      fprintf(stderr, "round %ld: a call on a thread of the host's failed\n", round);
      return 1;
    }
    if (status == GF_OK) status = engine_submit(engine, &request, &job);
    /* Every other round closes with the job in flight. */
    if (status == GF_OK && round % 2 == 0) {
      status = job_wait(engine, &job, 60 * 1000000, &info);
      if (status == GF_OK) status = (gf_status)info.status;
    }
    if (status != GF_OK) {
      fprintf(stderr, "round %ld: status %d: %s\n", round, (int)status, last_error_message());
      return 1;
    }
    status = engine_close(engine, 60 * 1000000);
    if (status != GF_OK) {
      fprintf(stderr, "round %ld: close gave %d: %s\n", round, (int)status, last_error_message());
      return 1;
    }
    if (logger_close(calls.logger, 60 * 1000000) != GF_OK || aggregator_close(calls.aggregator) != GF_OK) {
      fprintf(stderr, "round %ld: %s\n", round, last_error_message());
      return 1;
    }
    dlclose(library);
    if (!settles_at("/proc/self/task", threads + host_threads)) {
      fprintf(stderr, "round %ld: threads of the library are left beside the host's\n", round);
      return 1;
    }
    pthread_barrier_wait(&calls.unloaded);
    for (number = 0; number < host_threads; ++number) pthread_join(host[number], NULL);
    pthread_barrier_destroy(&calls.called);
    pthread_barrier_destroy(&calls.unloaded);
    if (!settles_at("/proc/self/task", threads)) {
      fprintf(stderr, "round %ld: %d threads are left, there were %d\n", round, entries("/proc/self/task"), threads);
      return 1;
    }
    /* The stale handle is recognised even now: the library stays mapped. */
    if (engine_poll(engine, &event) != GF_ERR_INVALID_HANDLE) {
      fprintf(stderr, "round %ld: a closed engine was polled\n", round);
      return 1;
    }
    /* The first rounds fill tables and buffers that stay. */
    if (round == rounds / 10) settled = live_bytes();
    if (round > rounds / 10 && live_bytes() > most) most = live_bytes();
    if (files < 0) files = entries("/proc/self/fd");
    if (entries("/proc/self/fd") != files) {
      fprintf(stderr, "round %ld: %d files are open, there were %d\n", round, entries("/proc/self/fd"), files);
      return 1;
    }
  }
  if (most > settled + 16384) {
    fprintf(stderr, "%lu bytes were live after a tenth of the rounds, and up to %lu later\n", (unsigned long)settled,
            (unsigned long)most);
    return 1;
  }
  printf("%ld rounds, %d threads and %d open files after each; %lu live bytes, at most %lu later\n", rounds,
         threads - 2, files - 2, (unsigned long)settled, (unsigned long)most);
  return 0;
}
