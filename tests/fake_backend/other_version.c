/* What is beside the library after half an upgrade: a backend that speaks another version. Its entry must never be
 * called. */
#include "pipeline/backend_abi.h"

#include <stdlib.h>

__attribute__((visibility("default"))) extern const uint32_t gf_backend_abi_version;
const uint32_t gf_backend_abi_version = GF_BACKEND_ABI_VERSION + 1000;

__attribute__((visibility("default"))) int32_t gf_backend_entry(const gf_backend_host* host, gf_backend** backend,
                                                                gf_backend_error* error);
int32_t gf_backend_entry(const gf_backend_host* host, gf_backend** backend, gf_backend_error* error) {
  (void)host;
  (void)backend;
  (void)error;
  abort();
}
