// The doctor's report at the ABI.
#include "buffers.hpp"
#include "engine/engine.hpp"
#include "engine_options.hpp"
#include "firewall.hpp"
#include "version.hpp"

#include <utility>

using gf::Result;
using namespace gf::capi;

extern "C" {

gf_status gf_doctor_json(const gf_engine_options* options, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(auto read, read_engine_options(options));
    // What this library was linked with is known here alone.
    GF_TRY(const auto report, gf::engine::doctor_json(std::move(read), version_json()));
    return give_text(report, buffer, size);
  });
}

}  // extern "C"
