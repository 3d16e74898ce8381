// Models at the ABI: named by text, described as JSON.
#include "buffers.hpp"
#include "engine/engine.hpp"
#include "firewall.hpp"
#include "objects.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

using gf::Error;
using gf::Result;
using gf::Status;
using namespace gf::capi;

extern "C" {

gf_status gf_model_load_ahead(gf_engine* engine, const char* model, uint64_t host_tag, gf_job_id* out_job) {
  return firewall([&]() -> Result<void> {
    if (out_job == nullptr) return Error{Status::invalid_argument, "out_job is NULL", {}};
    *out_job = {0, 0};
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto name, needed_text(model, "model"));
    GF_TRY(const auto id, found->load_ahead(name, host_tag));
    *out_job = {id.high, id.low};
    return gf::success();
  });
}

gf_status gf_model_info_json(gf_engine* engine, const char* model, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto name, needed_text(model, "model"));
    GF_TRY(const auto text, found->model_info_json(name));
    return give_text(text, buffer, size);
  });
}

gf_status gf_model_list_json(gf_engine* engine, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    return give_text(found->model_list_json(), buffer, size);
  });
}

gf_status gf_model_pin(gf_engine* engine, const char* model, uint32_t pinned) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto name, needed_text(model, "model"));
    GF_TRY(const auto wanted, truth(pinned, "pinned"));
    return found->pin_model(name, wanted);
  });
}

gf_status gf_model_release(gf_engine* engine, const char* model) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto name, needed_text(model, "model"));
    return found->release_model(name);
  });
}

}  // extern "C"
