// The choices that each task still has, as a search narrows them.
#pragma once

#include <aura/operational/placement/model.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace aura::detail {

/// The tasks that are not settled yet, each with the choices that nothing has ruled out.
class ChoiceLists {
 public:
  ChoiceLists() = default;

  /// Every task with every choice that is allowed.
  explicit ChoiceLists(const PlacementModel& model) {
    choices_.reserve(model.tasks() * model.choices());
    for (std::size_t j = 0; j < model.tasks(); ++j) {
      begin_task(j);
      for (std::size_t i = 0; i < model.choices(); ++i)
        if (model.allowed(j, i)) add(i);
    }
  }

  void clear() noexcept {
    tasks_.clear();
    begin_.clear();
    choices_.clear();
  }
  void begin_task(std::size_t task) {
    tasks_.push_back(static_cast<std::uint32_t>(task));
    begin_.push_back(static_cast<std::uint32_t>(choices_.size()));
  }
  void add(std::size_t choice) { choices_.push_back(static_cast<std::uint32_t>(choice)); }

  std::size_t size() const noexcept { return tasks_.size(); }
  std::size_t choices() const noexcept { return choices_.size(); }
  std::size_t task(std::size_t position) const noexcept { return tasks_[position]; }
  std::size_t offset(std::size_t position) const noexcept { return begin_[position]; }  ///< among all choices
  std::span<const std::uint32_t> of(std::size_t position) const noexcept {
    const std::size_t end = position + 1 < begin_.size() ? begin_[position + 1] : choices_.size();
    return {choices_.data() + begin_[position], end - begin_[position]};
  }

 private:
  std::vector<std::uint32_t> tasks_, begin_, choices_;
};

}  // namespace aura::detail
