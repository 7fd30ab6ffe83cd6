// A convex, piecewise linear price of load that ends at a capacity.
#pragma once

#include <aura/operational/placement/problem.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace aura {

/// How far rounding may carry a sum of demands over a capacity: a billionth of it. Solvers keep within a tenth of that.
inline constexpr double capacity_tolerance = 1e-9;

/// f(load) for 0 ≤ load ≤ capacity; beyond, infinite. f(0) = 0, convex, never falling.
class ConvexPrice {
 public:
  ConvexPrice() = default;
  explicit ConvexPrice(double capacity) : capacity_(capacity) {}
  ConvexPrice(double capacity, std::vector<LoadPrice::Piece> pieces)
      : pieces_(std::move(pieces)), capacity_(capacity) {}

  double capacity() const noexcept { return capacity_; }
  bool is_free() const noexcept { return pieces_.empty(); }
  std::span<const LoadPrice::Piece> pieces() const noexcept { return pieces_; }

  bool fits(double load, double tolerance = capacity_tolerance / 10) const noexcept {
    return load <= capacity_ + capacity_ * tolerance;
  }

  /// The price, whether it fits or not. O(pieces).
  double at(double load) const noexcept {
    double price = 0, slope = 0;
    for (const LoadPrice::Piece& piece : pieces_) {
      if (load <= piece.from) break;
      price += (piece.per_unit - slope) * (load - piece.from);
      slope = piece.per_unit;
    }
    return price;
  }

  /// The convex conjugate: the most that `unit_value · load − f(load)` can be, over 0 ≤ load ≤ min(capacity, load_max).
  /// `where` becomes a load that attains it. For Lagrangian bounds. O(pieces).
  double conjugate(double unit_value, double load_max, double& where) const noexcept {
    const double end = std::min(capacity_, load_max);
    where = 0;
    if (unit_value <= 0) return 0;
    where = end;
    for (const LoadPrice::Piece& piece : pieces_)
      if (piece.per_unit > unit_value) {
        where = std::min(end, piece.from);
        break;
      }
    return unit_value * where - at(where);
  }

 private:
  std::vector<LoadPrice::Piece> pieces_;
  double capacity_ = std::numeric_limits<double>::infinity();
};

}  // namespace aura
