#include "exchange.h"

#include "collective.h"

#include "atom.h"
#include "comm.h"

#include <algorithm>
#include <climits>
#include <cstddef>
#include <stdexcept>

namespace fitsnap_nn {

void Exchange::begin_step(const NeighborArrays &neighbors, double cutoff) {
  failed_rank_ = -1;
  neighbors_ = &neighbors;
  cutoff_ = cutoff;
  edges_matched_ = false;
}

void Exchange::take_turn(Turn turn, const Rows &rows) {
  if (lmp_->comm->nprocs > 1) {
    if (failed_rank_ < 0 && !agree(turn, rows.width, false).consistent)
      throw std::runtime_error("the ranks ask for different exchanges: their models are not the same");
    if (failed_rank_ >= 0)
      throw std::runtime_error("stopped, since rank " + std::to_string(failed_rank_) + " failed");
  }
  perform(turn, rows);
}

void Exchange::finish_step(const std::string &failure) {
  const bool failed = !failure.empty();
  if (lmp_->comm->nprocs == 1) {
    if (failed)
      fail_everywhere(lmp_, 0, failure);
    return;
  }
  while (failed_rank_ < 0) {
    const Agreed next = agree(Turn::finish, 0, failed);
    if (failed_rank_ >= 0)
      break;
    if (next.turn == Turn::finish)
      return;
    if (next.consistent)
      perform(next.turn, {nullptr, next.width});
  }
  fail_everywhere(lmp_, failed_rank_, failure);
}

Exchange::Agreed Exchange::agree(Turn turn, int width, bool failed) {
  // One reduction to the smallest: who failed, and the largest and smallest turn and width of those who ask for any.
  const int kind = static_cast<int>(turn);
  const bool asks = turn != Turn::finish;
  const int mine[] = {failed ? lmp_->comm->me : INT_MAX, -kind, asks ? kind : INT_MAX, -width, asks ? width : INT_MAX};
  int all[5];
  MPI_Allreduce(mine, all, 5, MPI_INT, MPI_MIN, lmp_->world);
  if (all[0] != INT_MAX)
    failed_rank_ = all[0];
  const bool nobody_asks = all[1] == 0;
  return {static_cast<Turn>(-all[1]), -all[3], nobody_asks || (-all[1] == all[2] && -all[3] == all[4])};
}

void Exchange::perform(Turn turn, const Rows &rows) {
  if (turn == Turn::edges) {
    if (!edges_matched_)
      match_edges();
    edges_.reverse(rows);
    return;
  }
  rows_ = rows;
  for (first_column_ = 0; first_column_ < rows.width; first_column_ += chunk) {
    columns_ = std::min(chunk, rows.width - first_column_);
    if (turn == Turn::forward)
      lmp_->comm->forward_comm(pair_, columns_);
    else
      lmp_->comm->reverse_comm(pair_, columns_);
  }
  if (turn == Turn::reverse)
    zero_ghosts();
  rows_ = {};
}

void Exchange::match_edges() {
  std::vector<EdgeExchange::Home> homes(neighbors_->atoms());
  for (int row = 0; row < neighbors_->own(); ++row)
    homes[row] = {double(lmp_->comm->me), double(row)};
  perform(Turn::forward, {homes.data(), 2, false, neighbors_->row_of().data()});
  edges_.match(*neighbors_, homes, cutoff_);
  edges_matched_ = true;
}

void Exchange::zero_ghosts() {
  first_column_ = 0;
  const int local = lmp_->atom->nlocal;
  with_type(rows_, [&](auto *base) {
    for (int atom = local; atom < local + lmp_->atom->nghost; ++atom)
      if (auto *ghost = row(base, atom))
        std::fill_n(ghost, rows_.width, 0);
  });
}

// The columns of this message of an atom; null where there is nothing to send or to keep.
template <class T> T *Exchange::row(T *base, int atom) const {
  const std::ptrdiff_t index = rows_.row_of ? rows_.row_of[atom] : atom;
  return base && index >= 0 ? base + index * rows_.width + first_column_ : nullptr;
}

template <class T, class Next> void Exchange::pack(T *base, int count, Next next, double *buffer) const {
  for (int k = 0; k < count; ++k) {
    const T *source = row(base, next(k));
    buffer = source ? std::copy_n(source, columns_, buffer) : std::fill_n(buffer, columns_, 0.0);
  }
}

int Exchange::pack_forward(int count, const int *atoms, double *buffer) const {
  with_type(rows_, [&](auto *base) { pack(base, count, [&](int k) { return atoms[k]; }, buffer); });
  return count * columns_;
}

int Exchange::pack_reverse(int count, int first, double *buffer) const {
  with_type(rows_, [&](auto *base) { pack(base, count, [&](int k) { return first + k; }, buffer); });
  return count * columns_;
}

void Exchange::unpack_forward(int count, int first, const double *buffer) const {
  with_type(rows_, [&](auto *base) {
    for (int k = 0; k < count; ++k, buffer += columns_)
      if (auto *target = row(base, first + k))
        std::copy_n(buffer, columns_, target);
  });
}

void Exchange::unpack_reverse(int count, const int *atoms, const double *buffer) const {
  with_type(rows_, [&](auto *base) {
    for (int k = 0; k < count; ++k, buffer += columns_)
      if (auto *target = row(base, atoms[k]))
        for (int column = 0; column < columns_; ++column)
          target[column] += buffer[column];
  });
}

}    // namespace fitsnap_nn
