// First in, first out, in one piece of memory that grows up to a bound.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <utility>

namespace aura::detail {

/// A ring that doubles when it is full, until it holds `capacity` members. What it grew to, it keeps. Push and pop are
/// O(1), amortised while it grows. Not shared between threads.
template <class T>
class BoundedFifo {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);

 public:
  explicit BoundedFifo(std::size_t capacity) : capacity_(capacity) {}
  BoundedFifo(BoundedFifo&& other) noexcept
      : capacity_(other.capacity_),
        places_(std::exchange(other.places_, 0)),
        first_(std::exchange(other.first_, 0)),
        end_(std::exchange(other.end_, 0)),
        cells_(std::move(other.cells_)) {}
  BoundedFifo& operator=(BoundedFifo&&) = delete;
  ~BoundedFifo() {
    while (!empty()) pop();
  }

  bool empty() const noexcept { return first_ == end_; }
  bool full() const noexcept { return size() == capacity_; }
  std::size_t size() const noexcept { return end_ - first_; }

  /// Not full. Throws std::bad_alloc where it has to grow and cannot; the queue is then as it was.
  void push(T&& value) {
    if (size() == places_) [[unlikely]]
      grow();
    std::construct_at(&cell(end_).value, std::move(value));
    ++end_;
  }

  T& front() noexcept { return cell(first_).value; }
  T pop() noexcept {
    Cell& head = cell(first_++);
    T value = std::move(head.value);
    std::destroy_at(&head.value);
    return value;
  }

 private:
  struct Cell {
    Cell() noexcept {}
    Cell(const Cell&) = delete;
    Cell& operator=(const Cell&) = delete;
    ~Cell() {}
    union {
      T value;
    };
  };

  Cell& cell(std::size_t at) noexcept { return cells_[at & (places_ - 1)]; }

  [[gnu::noinline]] void grow() {
    BoundedFifo larger(capacity_);
    larger.places_ = std::max<std::size_t>(places_ * 2, 16);
    larger.cells_ = std::make_unique_for_overwrite<Cell[]>(larger.places_);
    while (!empty()) larger.push(pop());
    places_ = std::exchange(larger.places_, 0);
    first_ = std::exchange(larger.first_, 0);
    end_ = std::exchange(larger.end_, 0);
    cells_ = std::move(larger.cells_);
  }

  std::size_t capacity_;
  std::size_t places_ = 0;  // a power of two, or none
  std::size_t first_ = 0;  // counts on past the end
  std::size_t end_ = 0;
  std::unique_ptr<Cell[]> cells_;
};

}  // namespace aura::detail
