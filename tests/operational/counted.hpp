// A value that knows how many of its kind are alive, those it was moved from included.
#pragma once

#include <utility>

/// Only moves. `alive` is the caller's count.
class Counted {
 public:
  explicit Counted(int& alive) : alive_(&alive) { ++*alive_; }
  Counted(Counted&& other) noexcept : alive_(other.alive_), holds_(std::exchange(other.holds_, false)) { ++*alive_; }
  Counted& operator=(Counted&&) = delete;
  ~Counted() { --*alive_; }

  /// False once it was moved from.
  bool holds() const { return holds_; }

 private:
  int* alive_;
  bool holds_ = true;
};
