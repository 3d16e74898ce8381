/* The torch backend between a host whose ledger can be made to refuse: it opens the real one, whose path is built in,
 * and passes on the host's table with another `reserve`. The test that opened it steers it by the two functions below.
 */
#include "pipeline/backend_abi.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT extern const uint32_t gf_backend_abi_version;
const uint32_t gf_backend_abi_version = GF_BACKEND_ABI_VERSION;

static _Atomic uint64_t asked;
static _Atomic uint64_t first_refused = UINT64_MAX;
static _Atomic uint64_t last_refused;
static int32_t (*real_reserve)(void*, uint32_t, uint32_t, uint64_t, gf_backend_error*);

/* From now on counts from 0, and refuses what is asked for the first-th to the last-th time. */
EXPORT void short_backend_refuse(uint64_t first, uint64_t last) {
  atomic_store(&first_refused, UINT64_MAX);
  atomic_store(&last_refused, last);
  atomic_store(&asked, 0);
  atomic_store(&first_refused, first);
}

EXPORT uint64_t short_backend_asked(void) { return atomic_load(&asked); }

static int32_t reserve(void* context, uint32_t device, uint32_t kind, uint64_t bytes, gf_backend_error* error) {
  const uint64_t number = atomic_fetch_add(&asked, 1);
  if (number >= atomic_load(&first_refused) && number <= atomic_load(&last_refused)) {
    if (error != NULL) {
      error->status = 206;
      strcpy(error->message, "refused by the test");
    }
    return 206;
  }
  return real_reserve(context, device, kind, bytes, error);
}

EXPORT int32_t gf_backend_entry(const gf_backend_host* host, gf_backend** backend, gf_backend_error* error) {
  *backend = NULL;
  void* const object = dlopen(GAMEFORGE_TORCH_BACKEND, RTLD_NOW | RTLD_LOCAL);
  gf_backend_entry_function entry = NULL;
  if (object != NULL) {
    void* const symbol = dlsym(object, GF_BACKEND_ENTRY_SYMBOL);
    memcpy(&entry, &symbol, sizeof entry);
  }
  if (entry == NULL) {
    strcpy(error->message, "the torch backend cannot be opened");
    return 304;
  }
  /* One for each engine, since nobody says when it is done with. */
  static gf_backend_host tables[4096];
  static _Atomic uint32_t count;
  gf_backend_host* const changed = &tables[atomic_fetch_add(&count, 1) % 4096];
  *changed = *host;
  real_reserve = host->reserve;
  changed->reserve = reserve;
  return entry(changed, backend, error);
}
