/* A backend whose symbol is another library's business, which is not there: as when a host came with its own libtorch.
 */
#include "pipeline/backend_abi.h"

int gameforge_test_symbol_that_nobody_has(void);

__attribute__((visibility("default"))) extern const uint32_t gf_backend_abi_version;
const uint32_t gf_backend_abi_version = GF_BACKEND_ABI_VERSION;

__attribute__((visibility("default"))) int32_t gf_backend_entry(const gf_backend_host* host, gf_backend** backend,
                                                                gf_backend_error* error);
int32_t gf_backend_entry(const gf_backend_host* host, gf_backend** backend, gf_backend_error* error) {
  (void)host;
  (void)backend;
  (void)error;
  return gameforge_test_symbol_that_nobody_has();
}
