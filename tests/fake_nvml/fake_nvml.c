/* A libnvidia-ml for tests: the functions that the monitor asks for, answering from memory that a test shares with it
 * through a file. Signatures and numbers as in NVML's API reference. With -DFAKE_CUDART it is a libcudart instead,
 * whose cards are the same. */
#include "fake_nvml.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static fake_nvml_state* state;

static uint64_t get(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }

/* Mapped anew at each beginning, since one process runs many tests. */
static int begin(void) {
  const char* path = getenv(FAKE_NVML_VARIABLE);
  const int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  void* mapped;
  if (file < 0) return 0;
  mapped = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped == MAP_FAILED) return 0;
  if (state != NULL) munmap(state, sizeof *state);
  state = mapped;
  return 1;
}

#ifdef FAKE_CUDART

EXPORT int cudaGetDeviceCount(int* count);
EXPORT int cudaGetDevice(int* card);
EXPORT int cudaSetDevice(int card);
EXPORT int cudaMemGetInfo(size_t* bytes_free, size_t* bytes_total);
EXPORT int cudaGetLastError(void);
EXPORT const char* cudaGetErrorString(int code);

static __thread int current;

int cudaGetDeviceCount(int* count) {
  if (!begin()) return 35; /* cudaErrorInsufficientDriver */
  *count = (int)get(&state->card_count);
  return 0;
}

int cudaGetDevice(int* card) {
  *card = current;
  return 0;
}

int cudaSetDevice(int card) {
  if (card < 0 || card >= (int)get(&state->card_count)) return 101; /* cudaErrorInvalidDevice */
  current = card;
  return 0;
}

int cudaMemGetInfo(size_t* bytes_free, size_t* bytes_total) {
  fake_nvml_card* card = &state->cards[current];
  __atomic_fetch_add(&card->reads, 1, __ATOMIC_RELAXED);
  if (get(&card->lost) != 0) return 214; /* cudaErrorECCUncorrectable */
  *bytes_total = get(&card->total);
  *bytes_free = get(&card->total) - get(&card->used);
  return 0;
}

int cudaGetLastError(void) { return 0; }

const char* cudaGetErrorString(int code) {
  return code == 214 ? "uncorrectable ECC error encountered" : "a fake error";
}

#else

typedef fake_nvml_card* device_handle;
typedef struct memory_info {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
} memory_info;
typedef struct process_info {
  unsigned int pid;
  unsigned long long used_memory;
  unsigned int gpu_instance;
  unsigned int compute_instance;
} process_info;

EXPORT int nvmlInit_v2(void);
EXPORT int nvmlShutdown(void);
EXPORT const char* nvmlErrorString(int code);
EXPORT int nvmlDeviceGetCount_v2(unsigned int* count);
EXPORT int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device_handle* device);
EXPORT int nvmlDeviceGetName(device_handle device, char* name, unsigned int length);
EXPORT int nvmlDeviceGetMemoryInfo(device_handle device, memory_info* memory);
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(device_handle device, unsigned int* count, process_info* infos);

int nvmlInit_v2(void) {
  if (!begin()) return 9; /* NVML_ERROR_DRIVER_NOT_LOADED */
  if (get(&state->init_fails) != 0) return (int)get(&state->init_fails);
  __atomic_fetch_add(&state->open, 1, __ATOMIC_RELAXED);
  return 0;
}

int nvmlShutdown(void) {
  if (state != NULL && get(&state->open) > 0) __atomic_fetch_sub(&state->open, 1, __ATOMIC_RELAXED);
  return 0;
}

const char* nvmlErrorString(int code) {
  switch (code) {
    case 9:
      return "Driver Not Loaded";
    case 15:
      return "GPU is lost";
    default:
      return "Unknown Error";
  }
}

int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = (unsigned int)get(&state->card_count);
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, device_handle* device) {
  if (index >= get(&state->card_count)) return 2; /* NVML_ERROR_INVALID_ARGUMENT */
  *device = &state->cards[index];
  return 0;
}

int nvmlDeviceGetName(device_handle device, char* name, unsigned int length) {
  const int written = snprintf(name, length, "Fake card %d", (int)(device - state->cards));
  return written > 0 && (unsigned int)written < length ? 0 : 7;
}

int nvmlDeviceGetMemoryInfo(device_handle device, memory_info* memory) {
  __atomic_fetch_add(&device->reads, 1, __ATOMIC_RELAXED);
  if (get(&device->lost) != 0) return 15; /* NVML_ERROR_GPU_IS_LOST */
  memory->total = get(&device->total);
  memory->used = get(&device->used);
  memory->free = memory->total - memory->used;
  return 0;
}

int nvmlDeviceGetComputeRunningProcesses_v3(device_handle device, unsigned int* count, process_info* infos) {
  const uint64_t there = get(&device->process_count);
  uint64_t at;
  if (*count < there) {
    *count = (unsigned int)there;
    return 7; /* NVML_ERROR_INSUFFICIENT_SIZE */
  }
  for (at = 0; at < there; ++at) {
    memset(&infos[at], 0, sizeof infos[at]);
    infos[at].pid = (unsigned int)get(&device->process_pid[at]);
    infos[at].used_memory = get(&device->process_bytes[at]);
  }
  *count = (unsigned int)there;
  return 0;
}

#endif
