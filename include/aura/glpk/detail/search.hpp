// One search of GLPK's: the root relaxation in slices, then branch and cut, watched from its callback.
#pragma once

#include <aura/glpk/detail/trial.hpp>
#include <aura/operational/placement/integer_program.hpp>
#include <aura/operational/placement/solver.hpp>

#include <glpk.h>

#include <algorithm>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace aura::glpk::detail {

/// The statuses of rows and columns at an optimum of the relaxation, and of which program: what a later solve starts
/// from. It is no GLPK object, so it may cross threads.
struct Basis {
  std::uint64_t shape = 0;
  std::vector<unsigned char> statuses{};  ///< rows, then columns; empty where there is none
};

/// Called by GLPK at each event of its search, before ours: to watch it or to add cuts. It runs between frames of C: it
/// must not throw, and locals with a destructor must not be alive while it calls GLPK.
struct Watcher {
  void (*call)(glp_tree*, void*) = nullptr;
  void* info = nullptr;
};

/// `run()` is the part that calls GLPK: in no frame of it, nor of the callback, is a local with a destructor alive
/// during a call, as an error jumps over all of them. What it finds is held in members that were made before.
class Search {
 public:
  enum class End : std::uint8_t { limits, exhausted, infeasible, failed };

  Search(const IntegerProgram& program, const SolveLimits& limits, Watcher watcher, Basis& basis)
      : program_(program),
        model_(program.model()),
        limits_(limits),
        watcher_(watcher),
        basis_(basis),
        trial_(model_),
        values_(program.columns().size() + 1),
        tried_(model_.tasks()),
        best_(model_.tasks()),
        decided_(model_.tasks()) {
    for (std::size_t i = 0; i < program.rows().size(); ++i) {
      for (const int column : program.columns_of(i)) {
        entry_rows_.push_back(static_cast<int>(i) + 1);
        entry_columns_.push_back(column + 1);
      }
      entries_.insert(entries_.end(), program.values_of(i).begin(), program.values_of(i).end());
    }
  }

  /// Before `run()`: a placement out of what holds of `incumbent`, and of what is cheapest for the rest. Where that
  /// leads nowhere, one that begins by taking as little as it can.
  void start_from(std::span<const NodeIndex> incumbent) noexcept {
    if (const auto cost = trial_.cost_of(incumbent)) keep(incumbent, *cost);
    trial_.clear();
    for (std::size_t j = 0; j < std::min(incumbent.size(), model_.tasks()); ++j)
      if (const std::size_t choice = model_.choice_of(incumbent[j]);
          choice < model_.choices() && trial_.fits(j, choice))
        trial_.add(j, choice);
    keep_trial();
    if (has_placement()) return;
    trial_.clear();
    trial_.add_thriftily();
    keep_trial();
  }

  void run() noexcept {
    glp_prob* const lp = glp_create_prob();
    load(lp);
    if (!solve_root(lp)) return;
    note_bound(glp_get_obj_val(lp));
    for (std::size_t k = 1; k < values_.size(); ++k) values_[k] = glp_get_col_prim(lp, static_cast<int>(k));
    round();
    if (!is_over(lp)) solve_tree(lp);
    work_ = work_of(lp);
  }

  bool has_placement() const noexcept { return best_cost_ < std::numeric_limits<double>::infinity(); }
  const Placement& placement() const noexcept { return best_; }
  double cost() const noexcept { return best_cost_; }
  double lower_bound() const noexcept { return bound_; }
  std::uint64_t work() const noexcept { return work_; }  ///< simplex iterations
  End end() const noexcept { return end_; }
  int code() const noexcept { return code_; }  ///< GLPK's, where it failed

  /// How far rounding and GLPK's tolerances (1e-7, relative) may carry a bound.
  static double tolerance(double bound) noexcept { return 1e-6 * std::max(1.0, std::abs(bound)); }
  bool is_gap_reached() const noexcept {
    const double most = std::max(limits_.gap * std::abs(best_cost_), 2 * tolerance(best_cost_));
    return has_placement() && best_cost_ - bound_ <= most;
  }

 private:
  static constexpr int slice_iterations = 100;  ///< between two looks at the clock in the root relaxation

  static std::uint64_t work_of(glp_prob* lp) noexcept { return static_cast<std::uint64_t>(glp_get_it_cnt(lp)); }

  bool is_over(glp_prob* lp) noexcept {
    work_ = work_of(lp);
    return is_gap_reached() || work_ >= limits_.work_max || limits_.is_over();
  }

  // The program, given to GLPK. Its own numbers are the only indices that GLPK gets.

  void load(glp_prob* lp) noexcept {
    const auto rows = program_.rows();
    const auto columns = program_.columns();
    if (!rows.empty()) glp_add_rows(lp, static_cast<int>(rows.size()));
    for (std::size_t i = 0; i < rows.size(); ++i)
      glp_set_row_bnds(lp, static_cast<int>(i) + 1, rows[i].lower == rows[i].upper ? GLP_FX : GLP_UP, rows[i].lower,
                       rows[i].upper);
    if (!columns.empty()) glp_add_cols(lp, static_cast<int>(columns.size()));
    for (std::size_t k = 0; k < columns.size(); ++k) {
      const int column = static_cast<int>(k) + 1;
      glp_set_obj_coef(lp, column, columns[k].cost);
      if (k < program_.binaries().size())
        glp_set_col_kind(lp, column, GLP_BV);
      else
        glp_set_col_bnds(lp, column, std::isfinite(columns[k].upper) ? GLP_DB : GLP_LO, 0, columns[k].upper);
    }
    glp_load_matrix(lp, static_cast<int>(program_.coefficients()), entry_rows_.data(), entry_columns_.data(),
                    entries_.data());
  }

  // The relaxation. GLPK's own time limit is checked too rarely, and knows no cancellation: so there are slices.

  bool solve_root(glp_prob* lp) noexcept {
    const bool warm = restore_basis(lp);
    if (!warm) glp_std_basis(lp);  // dual feasible, unlike the advanced one, which took up to 30 times as long
    glp_smcp parameters;
    glp_init_smcp(&parameters);
    parameters.msg_lev = GLP_MSG_OFF;
    parameters.meth = GLP_DUALP;
    parameters.r_test = GLP_RT_FLIP;
    for (bool retried = !warm; !is_over(lp);) {
      parameters.it_lim = static_cast<int>(std::min<std::uint64_t>(slice_iterations, limits_.work_max - work_));
      code_ = glp_simplex(lp, &parameters);
      if (code_ == GLP_EITLIM) continue;
      if (code_ == 0) return judge_root(lp);
      if (std::exchange(retried, true)) return end_ = End::failed, false;
      glp_std_basis(lp);  // the one that was kept does not serve
    }
    return false;
  }

  bool judge_root(glp_prob* lp) noexcept {
    const int status = glp_get_status(lp);
    if (status == GLP_OPT) {
      save_basis(lp);
      return true;
    }
    work_ = work_of(lp);
    end_ = status == GLP_NOFEAS ? End::infeasible : End::failed;
    return false;
  }

  bool restore_basis(glp_prob* lp) const noexcept {
    const std::size_t rows = program_.rows().size(), columns = program_.columns().size();
    if (basis_.statuses.size() != rows + columns || basis_.shape != program_.shape()) return false;
    for (std::size_t i = 0; i < rows; ++i) glp_set_row_stat(lp, static_cast<int>(i) + 1, basis_.statuses[i]);
    for (std::size_t k = 0; k < columns; ++k)
      glp_set_col_stat(lp, static_cast<int>(k) + 1, basis_.statuses[rows + k]);
    return true;
  }
  void save_basis(glp_prob* lp) noexcept {
    const std::size_t rows = program_.rows().size(), columns = program_.columns().size();
    basis_.shape = program_.shape();
    basis_.statuses.resize(rows + columns);
    for (std::size_t i = 0; i < rows; ++i)
      basis_.statuses[i] = static_cast<unsigned char>(glp_get_row_stat(lp, static_cast<int>(i) + 1));
    for (std::size_t k = 0; k < columns; ++k)
      basis_.statuses[rows + k] = static_cast<unsigned char>(glp_get_col_stat(lp, static_cast<int>(k) + 1));
  }

  // The tree. No presolver: with one, columns are others than ours, and an existing solution is used wrongly.

  void solve_tree(glp_prob* lp) noexcept {
    glp_iocp parameters;
    glp_init_iocp(&parameters);
    parameters.msg_lev = GLP_MSG_OFF;
    parameters.br_tech = GLP_BR_MFV;  // pseudo-costs try out every branch first: up to 1.6 s without a callback
    parameters.bt_tech = GLP_BT_BLB;
    parameters.flip = GLP_ON;
    parameters.cov_cuts = GLP_ON;
    parameters.mir_cuts = GLP_ON;
    parameters.cb_func = &Search::on_event;
    parameters.cb_info = this;
    code_ = glp_intopt(lp, &parameters);
    if (code_ == GLP_ESTOP) return;
    if (code_ != 0 && code_ != GLP_EMIPGAP) {
      end_ = End::failed;
      return;
    }
    end_ = End::exhausted;
    if (glp_mip_status(lp) == GLP_OPT || glp_mip_status(lp) == GLP_FEAS) {
      take_integers(lp);
      note_bound(std::min(glp_mip_obj_val(lp), best_cost_));  // what was pruned was pruned by this
    } else if (!has_placement()) {
      end_ = End::infeasible;
    }
  }

  static void on_event(glp_tree* tree, void* self) { static_cast<Search*>(self)->look(tree); }

  void look(glp_tree* tree) noexcept {
    if (watcher_.call != nullptr) watcher_.call(tree, watcher_.info);
    glp_prob* const lp = glp_ios_get_prob(tree);
    const int reason = glp_ios_reason(tree);
    if (reason == GLP_IBINGO) take_integers(lp);
    if (reason == GLP_IHEUR) {
      for (std::size_t k = 1; k < values_.size(); ++k) values_[k] = glp_get_col_prim(lp, static_cast<int>(k));
      round();
      offer(tree, lp);
    }
    if (const int node = glp_ios_best_node(tree); node != 0) {
      const double bound = glp_ios_node_bound(tree, node);
      if (bound > -DBL_MAX) note_bound(glp_mip_status(lp) == GLP_FEAS ? std::min(bound, glp_mip_obj_val(lp)) : bound);
    }
    if (is_over(lp)) glp_ios_terminate(tree);
  }

  /// GLPK takes what it is given without a look at the rows: only what was found to hold is offered.
  void offer(glp_tree* tree, glp_prob* lp) noexcept {
    if (!has_placement() || (glp_mip_status(lp) == GLP_FEAS && glp_mip_obj_val(lp) <= best_cost_)) return;
    write_values();
    glp_ios_heur_sol(tree, values_.data());
  }

  void take_integers(glp_prob* lp) noexcept {
    for (std::size_t j = 0; j < model_.tasks(); ++j)
      for (std::size_t k = program_.begin(j); k < program_.begin(j + 1); ++k)
        if (glp_mip_col_val(lp, static_cast<int>(k) + 1) > 0.5)
          tried_[j] = model_.node_of(program_.binaries()[k].choice);
    keep_tried();
  }

  // Our side: none of this calls GLPK.

  /// A placement near the relaxation: what it decided most clearly goes first.
  void round() noexcept {
    trial_.clear();
    for (std::size_t j = 0; j < model_.tasks(); ++j) {
      decided_[j] = {0, static_cast<std::uint32_t>(j)};
      for (std::size_t k = program_.begin(j); k < program_.begin(j + 1); ++k)
        decided_[j].first = std::max(decided_[j].first, values_[k + 1]);
    }
    std::ranges::sort(decided_, std::ranges::greater{});
    for (const auto& [share, j] : decided_) {
      double most = 1e-6;
      std::size_t choice = model_.choices();
      for (std::size_t k = program_.begin(j); k < program_.begin(j + 1); ++k)
        if (values_[k + 1] > most && trial_.fits(j, program_.binaries()[k].choice))
          most = values_[k + 1], choice = program_.binaries()[k].choice;
      if (choice < model_.choices()) trial_.add(j, choice);
    }
    keep_trial();
  }

  void keep_trial() noexcept {
    if (!trial_.complete()) return;
    for (std::size_t j = 0; j < model_.tasks(); ++j) tried_[j] = model_.node_of(trial_.choices()[j]);
    keep_tried();
  }
  void keep_tried() noexcept {
    if (const auto cost = trial_.cost_of(tried_)) keep(tried_, *cost);
  }
  void keep(std::span<const NodeIndex> placement, double cost) noexcept {
    if (cost >= best_cost_) return;
    best_.assign(placement.begin(), placement.end());
    best_cost_ = cost;
    if (limits_.progress != nullptr) limits_.progress->found(placement, cost);
  }

  void note_bound(double bound) noexcept {
    bound -= tolerance(bound);
    if (model_.is_integral()) bound = std::ceil(bound);
    if (bound <= bound_) return;
    bound_ = bound;
    if (limits_.progress != nullptr) limits_.progress->proved(bound);
  }

  /// The best placement as values of all columns.
  void write_values() noexcept {
    if (!trial_.cost_of(best_)) return;
    std::ranges::fill(values_, 0.0);
    for (std::size_t k = 0; k < program_.binaries().size(); ++k)
      if (trial_.choices()[program_.binaries()[k].task] == program_.binaries()[k].choice) values_[k + 1] = 1;
    for (const IntegerProgram::Segments& segments : program_.segments()) {
      double left =
          trial_.load(segments.node, segments.resource) / model_.price(segments.node, segments.resource).capacity();
      for (std::size_t k = 0; k < static_cast<std::size_t>(segments.count); ++k) {
        const std::size_t column = static_cast<std::size_t>(segments.first) + k;
        double& value = values_[column + 1];
        value = std::min(left, program_.columns()[column].upper);
        left -= value;
      }
    }
    for (const IntegerProgram::Excess& excess : program_.excesses())
      if (const std::size_t members = trial_.members(excess.group, excess.node); members > 1)
        values_[static_cast<std::size_t>(excess.column) + 1] = static_cast<double>(members - 1);
  }

  const IntegerProgram& program_;
  const PlacementModel& model_;
  const SolveLimits& limits_;
  Watcher watcher_;
  Basis& basis_;
  Trial trial_;
  std::vector<double> values_;  ///< of columns, from 1
  std::vector<int> entry_rows_{0}, entry_columns_{0};  ///< GLPK counts from 1
  std::vector<double> entries_{0};
  Placement tried_, best_;
  std::vector<std::pair<double, std::uint32_t>> decided_;
  double best_cost_ = std::numeric_limits<double>::infinity();
  double bound_ = -std::numeric_limits<double>::infinity();
  std::uint64_t work_ = 0;
  End end_ = End::limits;
  int code_ = 0;
};

}  // namespace aura::glpk::detail
