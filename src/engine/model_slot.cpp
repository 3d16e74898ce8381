#include "engine/model_slot.hpp"

#include <utility>

namespace gf::engine {

void ModelSlot::end(Attempt& attempt, std::optional<Error> error, Model model) {
  const std::lock_guard lock(mutex_);
  attempt.over = true;
  attempt.error = std::move(error);
  loading_.reset();
  if (model) {
    model_ = std::move(model);
    loaded = true;
  }
  changed_.notify_all();
}

Result<ModelSlot::Model> ModelSlot::acquire(const std::function<bool()>& cancelled,
                                            const std::function<Result<Model>()>& load) {
  const auto mine = std::make_shared<Attempt>();
  {
    std::unique_lock lock(mutex_);
    for (;;) {
      if (cancelled()) return Error{Status::cancelled, "the job was cancelled", {}};
      if (model_) return model_;
      if (!loading_) break;
      const auto other = loading_;
      changed_.wait(lock, [&] { return other->over || cancelled(); });
      if (other->over && other->error) return *other->error;
    }
    loading_ = mine;
  }
  try {
    auto model = load();
    if (model) {
      end(*mine, std::nullopt, model.value());
    } else if (model.error().status == Status::cancelled) {
      end(*mine, std::nullopt, nullptr);
    } else {
      end(*mine, model.error(), nullptr);
    }
    return model;
  } catch (...) {
    // Without memory for a copy of the error, others try for themselves.
    end(*mine, std::nullopt, nullptr);
    throw;
  }
}

void ModelSlot::wake() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

ModelSlot::Model ModelSlot::drop() {
  const std::lock_guard lock(mutex_);
  loaded = false;
  return std::exchange(model_, nullptr);
}

}  // namespace gf::engine
