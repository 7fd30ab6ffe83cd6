// What tasks share: the load of each resource on each node, and each group's members there. A row is one of these.
#pragma once

#include <aura/operational/placement/convex_price.hpp>
#include <aura/operational/placement/model.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace aura::detail {

/// Rows are numbered node by node for resources, then group by group: `of(choice, resource)`, `of_group(group, choice)`.
/// Rejection has rows too, which nothing limits. Each has a convex price of its load that ends at a capacity: a
/// group's members are a load like any other, with the price of crowding and `per_node_max` as its capacity.
class LoadRows {
 public:
  explicit LoadRows(const PlacementModel& model)
      : choices_(model.choices()), resources_(model.resources()), groups_(model.groups()) {
    prices_.reserve(size());
    for (std::size_t i = 0; i < choices_; ++i)
      for (std::size_t r = 0; r < resources_; ++r)
        prices_.push_back(i == model.rejection() ? ConvexPrice() : model.price(i, r));
    for (std::size_t g = 0; g < groups_; ++g) {
      const PlacementModel::Group group = model.group(g);
      const double most = group.per_node_max >= group.tasks.size() ? std::numeric_limits<double>::infinity()
                                                                   : static_cast<double>(group.per_node_max);
      std::vector<LoadPrice::Piece> pieces;
      if (group.crowding_price > 0) pieces.push_back({1, group.crowding_price});
      for (std::size_t i = 0; i < choices_; ++i)
        prices_.push_back(i == model.rejection() ? ConvexPrice() : ConvexPrice(most, pieces));
    }
    load_max_.assign(size(), 0.0);
    for (std::size_t j = 0; j < model.tasks(); ++j)
      for (std::size_t i = 0; i < choices_; ++i) {
        if (!model.allowed(j, i)) continue;
        for (std::size_t r = 0; r < resources_; ++r) load_max_[of(i, r)] += model.demand(j, i, r);
        for (const std::uint32_t g : model.groups_of(j)) load_max_[of_group(g, i)] += 1;
      }
    capacities_.reserve(size());
    for (const ConvexPrice& price : prices_) {
      capacities_.push_back(price.capacity());
      plain_.push_back(price.is_free());
    }
  }

  std::size_t size() const noexcept { return choices_ * (resources_ + groups_); }
  std::size_t resources() const noexcept { return resources_; }
  std::size_t of(std::size_t choice, std::size_t resource) const noexcept { return choice * resources_ + resource; }
  std::size_t of_group(std::size_t group, std::size_t choice) const noexcept {
    return choices_ * (resources_ + group) + choice;
  }

  const ConvexPrice& price(std::size_t row) const noexcept { return prices_[row]; }
  double capacity(std::size_t row) const noexcept { return capacities_[row]; }
  bool is_plain(std::size_t row) const noexcept { return plain_[row]; }  ///< no price, only a capacity
  double price_at(std::size_t row, double load) const noexcept { return plain_[row] ? 0 : prices_[row].at(load); }
  double load_max(std::size_t row) const noexcept { return load_max_[row]; }  ///< were every task placed there

 private:
  std::size_t choices_, resources_, groups_;
  std::vector<ConvexPrice> prices_;
  std::vector<double> capacities_, load_max_;
  std::vector<char> plain_;
};

}  // namespace aura::detail
