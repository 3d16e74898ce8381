#include "pipeline/backend_library.hpp"

#include "pipeline/checkpoint.hpp"

#include "base/files.hpp"
#include "base/json.hpp"
#include "base/platform.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <new>
#include <string_view>
#include <utility>

#include <dlfcn.h>
#include <sys/stat.h>

namespace gf::pipeline {
namespace {

constexpr std::uint32_t cpu = 0;  // The one device so far.
constexpr std::string_view backend_file_name = "libgameforge_torch.so";

gf_backend_error fresh_error() {
  gf_backend_error error{};
  error.struct_size = sizeof error;
  return error;
}

/// Writes an Error into the other side's struct, as far as that is large.
std::int32_t tell(gf_backend_error* out, const Error& error) noexcept {
  if (out != nullptr && out->struct_size >= sizeof(gf_backend_error)) {
    out->status = static_cast<std::int32_t>(error.status);
    const auto message = first_bytes(error.message, sizeof out->message - 1);
    std::memcpy(out->message, message.data(), message.size());
    out->message[message.size()] = '\0';
  }
  return static_cast<std::int32_t>(error.status);
}

/// What a call into the backend came to, its message believed only as far as it is text.
Result<void> judged(std::string_view call, std::int32_t status, gf_backend_error& error) {
  if (status == 0) return success();
  error.message[sizeof error.message - 1] = '\0';
  std::string message(error.message);
  if (first_invalid_utf8(message)) message = shown(message);
  const auto* known = find_status(status);
  if (known == nullptr) {
    return Error{Status::internal,
                 fmt::format("the backend's {} answered the unknown status {}: {}", call, status, message),
                 {}};
  }
  if (message.empty()) message = fmt::format("the backend's {} answered {}", call, known->name);
  return Error{known->status, std::move(message), {}};
}

/// Runs one call into the backend. It is not to throw, but a C++ backend that does must not end the host's process.
template <class Body>
Result<void> fenced(std::string_view call, Body&& body) {
  try {
    auto error = fresh_error();
    const std::int32_t status = body(&error);
    return judged(call, status, error);
  } catch (const std::bad_alloc&) {
    return Error{Status::out_of_host_memory, fmt::format("the backend's {} ran out of memory", call), {}};
  } catch (const std::exception& caught) {
    return Error{Status::internal, fmt::format("the backend's {} threw: {}", call, shown(caught.what())), {}};
  } catch (...) {
    return Error{Status::internal, fmt::format("the backend's {} threw something that is no std::exception", call), {}};
  }
}

/// For calls that give back: they have no status, and what they throw has nowhere to go.
template <class Body>
void fenced_quietly(Body&& body) noexcept {
  try {
    body();
  } catch (...) {  // NOLINT(bugprone-empty-catch)
  }
}

std::int32_t out_of_memory(gf_backend_error* error) noexcept {
  try {
    return tell(error, Error{Status::out_of_host_memory, "out of memory", {}});
  } catch (...) {
    return static_cast<std::int32_t>(Status::out_of_host_memory);
  }
}

/// The other side's view of a call: cancel flag and progress.
class SeamCall {
 public:
  SeamCall(std::uint32_t threads, CallWatcher& watcher) : watcher_(watcher) {
    raw_.struct_size = sizeof raw_;
    raw_.threads = std::max<std::uint32_t>(threads, 1);
    raw_.context = this;
    raw_.cancelled = [](void* context) -> std::uint32_t {
      return static_cast<SeamCall*>(context)->watcher_.cancelled() ? 1 : 0;
    };
    raw_.progress = [](void* context, std::uint32_t stage, std::uint64_t done, std::uint64_t total) {
      static_cast<SeamCall*>(context)->watcher_.progress(stage, done, total);
    };
    raw_.thrift = watcher.thrift();
  }
  const gf_backend_call* raw() const { return &raw_; }

 private:
  CallWatcher& watcher_;
  gf_backend_call raw_{};
};

Error missing_output(std::string_view call) {
  return Error{Status::internal, fmt::format("the backend's {} succeeded, but gave nothing", call), {}};
}

std::string text_of(const char* text) {
  if (text == nullptr) return {};
  std::string out(text);
  return first_invalid_utf8(out) ? shown(out) : out;
}

/// Whether an object of that name is linked into the process.
bool is_in_process(const char* name) {
  void* const object = dlopen(name, RTLD_NOW | RTLD_NOLOAD);
  if (object == nullptr) {
    (void)dlerror();  // NOLINT(concurrency-mt-unsafe): or it would be taken for the next call's.
    return false;
  }
  dlclose(object);
  return true;
}

/// dlerror's words, with the path that they begin with taken off.
std::string linker_words(std::string_view path) {
  const char* words = dlerror();  // NOLINT(concurrency-mt-unsafe): the C library keeps one for each thread.
  std::string_view text = words == nullptr ? "the linker gave no reason" : words;
  if (text.starts_with(path) && text.substr(path.size()).starts_with(": ")) text.remove_prefix(path.size() + 2);
  return first_invalid_utf8(text) ? shown(text) : std::string(text);
}

}  // namespace

std::string default_backend_path() {
  const auto own = own_object_path();
  const auto slash = own.rfind('/');
  if (slash == std::string::npos) return {};
  return join_path(std::string_view(own).substr(0, slash), backend_file_name);
}

Result<std::shared_ptr<const BackendLibrary>> BackendLibrary::open(const std::string& path) {
  if (path.empty() || path.front() != '/') {
    return Error{Status::backend_missing, fmt::format("the backend's path {} is not absolute", shown(path)), {}};
  }
  // Held while the object is opened, which takes seconds for libtorch on a cold disk: whoever else wants it needs the
  // same wait. Never destroyed, as what it lists is never closed.
  struct Opened {
    std::mutex mutex;
    std::map<std::string, std::shared_ptr<const BackendLibrary>> by_path;  // Guarded by mutex.
  };
  static auto* const opened = new Opened;
  const std::lock_guard lock(opened->mutex);
  if (const auto found = opened->by_path.find(path); found != opened->by_path.end()) return found->second;

  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    const int number = errno;
    return Error{Status::backend_missing, system_error(number, path).message, {}};
  }
  if (!S_ISREG(status.st_mode)) {
    return Error{Status::backend_missing, fmt::format("{} is not a regular file", path), {}};
  }
  const bool came_second = is_in_process("libtorch_cpu.so");
  void* const object = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (object == nullptr) {
    const auto words = linker_words(path);
    // "undefined symbol: ..." and "version `...' not found" mean that a library is there, but is not the one that the
    // backend was linked with: as a rule the host's own, which came first.
    const bool clash = words.find("undefined symbol") != std::string::npos ||
                       words.find("version `") != std::string::npos ||
                       words.find("symbol lookup error") != std::string::npos;
    return Error{clash ? Status::symbol_clash : Status::backend_missing,
                 fmt::format("{} cannot be opened: {}", path, words),
                 {}};
  }
  // An object that fails from here on stays open: what it started while it was opened cannot be taken back by closing.
  const auto* const version = static_cast<const std::uint32_t*>(dlsym(object, GF_BACKEND_VERSION_SYMBOL));
  if (version == nullptr) {
    return Error{
        Status::backend_version_clash,
        fmt::format("{} does not say its version, so it is no backend of GameForge: {}", path, linker_words(path)),
        {}};
  }
  if (*version != GF_BACKEND_ABI_VERSION) {
    return Error{Status::backend_version_clash,
                 fmt::format("{} speaks version {} of the backend's interface; this library speaks version {}", path,
                             *version, GF_BACKEND_ABI_VERSION),
                 {}};
  }
  const auto entry = reinterpret_cast<gf_backend_entry_function>(dlsym(object, GF_BACKEND_ENTRY_SYMBOL));
  if (entry == nullptr) {
    return Error{Status::backend_version_clash, fmt::format("{} has no entry: {}", path, linker_words(path)), {}};
  }
  std::shared_ptr<BackendLibrary> library(new BackendLibrary);
  library->path_ = path;
  library->entry_ = entry;
  library->came_second_ = came_second;
  opened->by_path.emplace(path, library);
  return std::shared_ptr<const BackendLibrary>(library);
}

/// The functions that the backend calls. None of them throws.
struct Backend::HostTable {
  gf_backend_host raw{};
  BackendHost host;

  static HostTable& of(void* context) { return *static_cast<HostTable*>(context); }

  explicit HostTable(const BackendHost& given) : host(given) {
    raw.struct_size = sizeof raw;
    raw.abi_version = GF_BACKEND_ABI_VERSION;
    raw.context = this;
    raw.log = [](void* context, std::uint32_t level, const char* module, const char* message) {
      if (module == nullptr || message == nullptr) return;
      if (auto* sink = of(context).host.log; sink != nullptr)
        sink->write(static_cast<LogLevel>(level), module, message);
    };
    raw.log_enabled = [](void* context, std::uint32_t level) -> std::uint32_t {
      const auto* sink = of(context).host.log;
      return sink != nullptr && sink->enabled(static_cast<LogLevel>(level)) ? 1 : 0;
    };
    raw.now_us = [](void* context) { return of(context).host.clock->now_us(); };
    raw.reserve = [](void* context, std::uint32_t device, std::uint32_t kind, std::uint64_t bytes,
                     gf_backend_error* error) -> std::int32_t {
      try {
        const auto answer = of(context).host.ledger->reserve(device, static_cast<cache::MemoryKind>(kind), bytes);
        return answer ? 0 : tell(error, answer.error());
      } catch (...) {
        return out_of_memory(error);
      }
    };
    // The account exists since the bytes were reserved, so that these two need no memory.
    raw.commit = [](void* context, std::uint32_t device, std::uint32_t kind, std::uint64_t bytes) {
      fenced_quietly([&] { of(context).host.ledger->commit(device, static_cast<cache::MemoryKind>(kind), bytes); });
    };
    raw.release = [](void* context, std::uint32_t device, std::uint32_t kind, std::uint64_t bytes,
                     std::uint32_t committed) {
      fenced_quietly([&] {
        of(context).host.ledger->release(device, static_cast<cache::MemoryKind>(kind), bytes, committed != 0);
      });
    };
    raw.file_open = [](void*, const char* path, gf_backend_file** file, gf_backend_file_stamp* stamp,
                       gf_backend_error* error) -> std::int32_t {
      *file = nullptr;
      try {
        FileStamp is;
        auto opened = open_model_file(path, is);
        if (!opened) return tell(error, opened.error());
        auto owned = std::move(opened).value();
        if (stamp != nullptr) *stamp = {owned->size(), is.inode, is.modified_ns, is.changed_ns};
        *file = reinterpret_cast<gf_backend_file*>(owned.release());
        return 0;
      } catch (...) {
        return out_of_memory(error);
      }
    };
    raw.file_read = [](void*, gf_backend_file* file, std::uint64_t offset, void* into, std::uint64_t bytes,
                       gf_backend_error* error) -> std::int32_t {
      try {
        const auto answer = reinterpret_cast<ByteSource*>(file)->read_at(
            offset, {static_cast<std::byte*>(into), static_cast<std::size_t>(bytes)});
        return answer ? 0 : tell(error, answer.error());
      } catch (...) {
        return out_of_memory(error);
      }
    };
    raw.file_check = [](void*, gf_backend_file* file, gf_backend_error* error) -> std::int32_t {
      try {
        const auto answer = reinterpret_cast<ByteSource*>(file)->check_unchanged();
        return answer ? 0 : tell(error, answer.error());
      } catch (...) {
        return out_of_memory(error);
      }
    };
    raw.file_close = [](void*, gf_backend_file* file) { delete reinterpret_cast<ByteSource*>(file); };
  }
};

Result<std::shared_ptr<Backend>> Backend::create(std::shared_ptr<const BackendLibrary> library,
                                                 const BackendHost& host) {
  std::shared_ptr<Backend> backend(new Backend);
  backend->library_ = std::move(library);
  backend->host_ = std::make_unique<HostTable>(host);
  backend->host_->raw.computes_with_others = backend->library_->came_second() ? 1 : 0;
  const auto& path = backend->library_->path();
  gf_backend* raw = nullptr;
  auto entered = fenced(
      "entry", [&](gf_backend_error* error) { return backend->library_->entry()(&backend->host_->raw, &raw, error); });
  if (!entered) {
    return wrap(entered.error(), entered.error().status, fmt::format("{}: {}", path, entered.error().message));
  }
  if (raw == nullptr) return missing_output("entry");
  if (raw->struct_size < sizeof(gf_backend) || raw->abi_version != GF_BACKEND_ABI_VERSION) {
    return Error{Status::backend_version_clash,
                 fmt::format("{} gave a table of {} bytes and version {}; this library needs {} bytes and version {}",
                             path, raw->struct_size, raw->abi_version, sizeof(gf_backend), GF_BACKEND_ABI_VERSION),
                 {}};
  }
  if (!raw->load || !raw->model_info || !raw->unload || !raw->encode || !raw->conditioning_warnings ||
      !raw->conditioning_info || !raw->conditioning_free || !raw->start || !raw->step || !raw->rest || !raw->decode ||
      !raw->latents || !raw->finish || !raw->statistics || !raw->build_json || !raw->destroy) {
    return Error{Status::backend_version_clash, fmt::format("{} gave a table with a hole in it", path), {}};
  }
  backend->backend_ = raw;
  return backend;
}

Backend::~Backend() {
  if (backend_ != nullptr) fenced_quietly([this] { backend_->destroy(backend_); });
}

std::string Backend::name() const { return text_of(backend_->name); }
std::string Backend::version() const { return text_of(backend_->version); }

std::string Backend::build_json() const {
  std::string out;
  fenced_quietly([&] { out = text_of(backend_->build_json(backend_)); });
  return parse_json(out, "build_json") ? out : "{}";
}

gf_backend_statistics Backend::statistics() const {
  gf_backend_statistics out{};
  out.struct_size = sizeof out;
  fenced_quietly([&] { backend_->statistics(backend_, &out); });
  return out;
}

Result<std::shared_ptr<BackendModel>> Backend::load(const std::string& folder, std::uint32_t threads,
                                                    CallWatcher& watcher) {
  std::shared_ptr<BackendModel> model(new BackendModel);
  model->backend_ = shared_from_this();
  gf_backend_load_request request{};
  request.struct_size = sizeof request;
  request.path = folder.c_str();
  const SeamCall call(threads, watcher);
  model->owner_ = host_->host.ledger->owner(cpu, folder);
  const auto tag = model->counts_as(cache::MemoryStage::loading);
  GF_TRYV(fenced("load", [&](gf_backend_error* error) {
    return backend_->load(backend_, &request, call.raw(), &model->model_, error);
  }));
  if (model->model_ == nullptr) return missing_output("load");
  auto& info = model->info_;
  info.struct_size = sizeof info;
  GF_TRYV(fenced("model_info", [&](gf_backend_error*) {
    backend_->model_info(model->model_, &info);
    return 0;
  }));
  info.family[sizeof info.family - 1] = '\0';
  info.prediction[sizeof info.prediction - 1] = '\0';
  return model;
}

std::uint64_t BackendModel::weight_bytes() const noexcept {
  gf_backend_model_info now{};
  now.struct_size = sizeof now;
  fenced_quietly([&] { backend_->backend_->model_info(model_, &now); });
  return now.weight_bytes;
}

cache::MemoryTag BackendModel::counts_as(cache::MemoryStage stage) const {
  return {*backend_->host_->host.ledger, cpu, owner_, stage};
}

BackendModel::~BackendModel() {
  if (model_ == nullptr) return;
  const auto tag = counts_as(cache::MemoryStage::loading);
  fenced_quietly([this] { backend_->backend_->unload(model_); });
}

Result<std::shared_ptr<BackendConditioning>> BackendModel::encode(const gf_backend_encode_request& request,
                                                                  std::uint32_t threads, CallWatcher& watcher) {
  std::shared_ptr<BackendConditioning> conditioning(new BackendConditioning);
  conditioning->model_ = shared_from_this();
  const SeamCall call(threads, watcher);
  const auto tag = counts_as(cache::MemoryStage::encoding);
  GF_TRYV(fenced("encode", [&](gf_backend_error* error) {
    return backend_->backend_->encode(model_, &request, call.raw(), &conditioning->conditioning_, error);
  }));
  if (conditioning->conditioning_ == nullptr) return missing_output("encode");
  return conditioning;
}

Result<std::unique_ptr<BackendRun>> BackendModel::start(std::shared_ptr<BackendConditioning> conditioning,
                                                        const gf_backend_run_request& request, std::uint32_t threads,
                                                        CallWatcher& watcher) {
  const SeamCall call(threads, watcher);
  std::unique_ptr<BackendRun> run(new BackendRun);
  run->model_ = shared_from_this();
  run->conditioning_ = std::move(conditioning);
  const auto tag = counts_as(cache::MemoryStage::sampling);
  GF_TRYV(fenced("start", [&](gf_backend_error* error) {
    return backend_->backend_->start(model_, run->conditioning_->conditioning_, &request, call.raw(), &run->run_,
                                     error);
  }));
  if (run->run_ == nullptr) return missing_output("start");
  return run;
}

BackendConditioning::~BackendConditioning() {
  if (conditioning_ != nullptr) {
    const auto tag = model_->counts_as(cache::MemoryStage::encoding);
    fenced_quietly([this] { model_->backend().backend_->conditioning_free(conditioning_); });
  }
}

std::vector<std::string> BackendConditioning::warnings() const {
  std::string text;
  fenced_quietly([&] { text = text_of(model_->backend().backend_->conditioning_warnings(conditioning_)); });
  std::vector<std::string> lines;
  for (std::size_t from = 0; from < text.size();) {
    const auto end = std::min(text.find('\n', from), text.size());
    lines.push_back(text.substr(from, end - from));
    from = end + 1;
  }
  return lines;
}

gf_backend_conditioning_info BackendConditioning::info() const {
  gf_backend_conditioning_info info{};
  info.struct_size = sizeof info;
  fenced_quietly([&] { model_->backend().backend_->conditioning_info(conditioning_, &info); });
  return info;
}

BackendRun::~BackendRun() {
  if (run_ == nullptr) return;
  const auto tag = model_->counts_as(cache::MemoryStage::sampling);
  fenced_quietly([this] { model_->backend().backend_->finish(run_); });
}

Result<std::uint32_t> BackendRun::step(std::uint32_t threads, CallWatcher& watcher) {
  const SeamCall call(threads, watcher);
  std::uint32_t remaining = 0;
  const auto tag = model_->counts_as(cache::MemoryStage::sampling);
  GF_TRYV(fenced("step", [&](gf_backend_error* error) {
    return model_->backend().backend_->step(run_, call.raw(), &remaining, error);
  }));
  return remaining;
}

void BackendRun::rest(bool keep_next) noexcept {
  const auto tag = model_->counts_as(cache::MemoryStage::sampling);
  fenced_quietly([&] { model_->backend().backend_->rest(run_, keep_next ? 1 : 0); });
}

Result<void> BackendRun::decode(std::uint32_t threads, CallWatcher& watcher, std::span<std::uint8_t> pixels) {
  const SeamCall call(threads, watcher);
  const auto tag = model_->counts_as(cache::MemoryStage::decoding);
  return fenced("decode", [&](gf_backend_error* error) {
    return model_->backend().backend_->decode(run_, call.raw(), pixels.data(), pixels.size(), error);
  });
}

Result<void> BackendRun::latents(std::span<float> values) {
  return fenced("latents", [&](gf_backend_error* error) {
    return model_->backend().backend_->latents(run_, values.data(), values.size(), error);
  });
}

}  // namespace gf::pipeline
