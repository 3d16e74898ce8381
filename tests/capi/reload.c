/* A host that loads the library, works with it and unloads it, again and again: its threads and files are gone each
 * time, and nothing grows.
 *
 *     reload LIBRARY MODEL_FOLDER BACKEND ROUNDS */
#define _GNU_SOURCE
#include "gameforge/gameforge.h"

#include <dirent.h>
#include <dlfcn.h>
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

/* A function pointer from dlsym without the cast that ISO C does not have. */
#define FIND(name) *(void**)&name = dlsym(library, "gf_" #name)

int main(int argc, char** argv) {
  int threads;
  int files = -1;
  long rounds;
  long round;
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
    const char* (*last_error_message)(void);
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
    options.model_folders = &folder;
    options.model_folder_count = 1;
    options.backend_path = argv[3];
    options.executor_count = 2;
    request.model = "fake";
    request.prompt = "again";
    request.width_px = request.height_px = 32;
    request.steps = 2;
    status = engine_open(&options, &engine);
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
    dlclose(library);
    if (!settles_at("/proc/self/task", threads)) {
      fprintf(stderr, "round %ld: %d threads are left, there were %d\n", round, entries("/proc/self/task"), threads);
      return 1;
    }
    /* The stale handle is recognised even now: the library stays mapped. */
    if (engine_poll(engine, &event) != GF_ERR_INVALID_HANDLE) {
      fprintf(stderr, "round %ld: a closed engine was polled\n", round);
      return 1;
    }
    if (files < 0) files = entries("/proc/self/fd");
    if (entries("/proc/self/fd") != files) {
      fprintf(stderr, "round %ld: %d files are open, there were %d\n", round, entries("/proc/self/fd"), files);
      return 1;
    }
  }
  printf("%ld rounds, %d threads and %d open files after each\n", rounds, threads - 2, files - 2);
  return 0;
}
