#include "neighbor_arrays.h"

#include "contacts.h"

#include "atom.h"
#include "neigh_list.h"
#include "neighbor.h"

#include <algorithm>
#include <stdexcept>

namespace fitsnap_nn {

void NeighborArrays::build(const LAMMPS_NS::NeighList &list, const std::vector<int> &element_of, int excluded,
                           const NeighborOptions &options) {
  assign_rows(element_of, excluded);
  const int listed = list.inum + (options.ghosts ? list.gnum : 0);
  // The LAMMPS list extends to cutoff plus skin: its size is an upper bound.
  Py_ssize_t candidates = 0;
  for (int ii = 0; ii < listed; ++ii)
    candidates += list.numneigh[list.ilist[ii]];
  for (auto *array : {&pair_i, &pair_j, &pair_elements})
    array->reserve(candidates);
  vectors.reserve(candidates);
  for (auto *array : {&centre_atoms, &centre_elements, &centre_pairs})
    array->reserve(listed);

  centres_ = pairs_ = 0;
  const bool limited = options.ghosts && options.layers > 0;
  const int complete = limited ? list.inum : listed;
  for (int ii = 0; ii < complete; ++ii)
    add_centre(list, list.ilist[ii], options.cutoff * options.cutoff);
  if (limited)
    add_ghost_layers(list, options);
}

bool NeighborArrays::follow(const LAMMPS_NS::NeighList &list, const std::vector<int> &element_of, int excluded) {
  const LAMMPS_NS::Neighbor &neighbor = *lmp_->neighbor;
  // A build is recognised by any of these, since fixes also build lists, and a run sets the counter to zero.
  bool changed = neighbor.ago == 0 || neighbor.ncalls != builds_ || neighbor.lastcall != last_build_;
  changed |= assign_rows(element_of, excluded);
  if (changed) {
    builds_ = -1;    // until the pairs are complete
    list_pairs(list);
  }
  builds_ = neighbor.ncalls;
  last_build_ = neighbor.lastcall;
  positions.reserve(atoms());
  for (int row = 0; row < atoms(); ++row)
    std::copy_n(lmp_->atom->x[atom_of_[row]], 3, positions.data() + 3 * std::ptrdiff_t(row));
  return changed;
}

void NeighborArrays::list_pairs(const LAMMPS_NS::NeighList &list) {
  Py_ssize_t candidates = 0;
  for (int ii = 0; ii < list.inum; ++ii)
    candidates += list.numneigh[list.ilist[ii]];
  pair_j.reserve(candidates);
  centre_pairs.reserve(list.inum);
  centres_ = pairs_ = 0;
  for (int ii = 0; ii < list.inum; ++ii) {
    const int atom = list.ilist[ii], row = row_of_[atom], first = pairs_;
    if (row < 0)
      continue;
    if (row != centres_)
      throw std::runtime_error("the neighbor list is not in the order of the atoms");
    for (int jj = 0; jj < list.numneigh[atom]; ++jj) {
      const int neighbor_row = row_of_[list.firstneigh[atom][jj] & NEIGHMASK];
      if (neighbor_row >= 0)
        pair_j.data()[pairs_++] = neighbor_row;
    }
    centre_pairs.data()[centres_++] = pairs_ - first;
  }
  if (centres_ != local_)
    throw std::runtime_error("the neighbor list lacks atoms that the model has an element for");
}

// Returns whether the rows differ from those of the previous call.
bool NeighborArrays::assign_rows(const std::vector<int> &element_of, int excluded) {
  const LAMMPS_NS::Atom &atom = *lmp_->atom;
  const int all = atom.nlocal + atom.nghost;
  bool changed = row_of_.size() != static_cast<std::size_t>(all);
  elements.reserve(all);
  tags.reserve(all);
  row_of_.assign(all, -1);
  std::vector<int> previous;
  previous.swap(atom_of_);
  atom_of_.reserve(all);
  for (int i = 0; i < all; ++i) {
    if (i == atom.nlocal)
      local_ = atoms();
    const int element = element_of[atom.type[i]];
    if (element < 0 || atom.mask[i] & excluded)
      continue;
    const int row = row_of_[i] = atoms();
    changed = changed || std::size_t(row) >= previous.size() || previous[row] != i ||
        elements.data()[row] != element || tags.data()[row] != atom.tag[i];
    elements.data()[row] = element;
    tags.data()[row] = atom.tag[i];
    atom_of_.push_back(i);
  }
  if (atom.nghost == 0)
    local_ = atoms();
  return changed || previous.size() != atom_of_.size();
}

void NeighborArrays::add_centre(const LAMMPS_NS::NeighList &list, int atom, double cutoff_squared) {
  const double *const *x = lmp_->atom->x;
  const int row = row_of_[atom];
  if (row < 0)
    return;
  const double xi = x[atom][0], yi = x[atom][1], zi = x[atom][2];
  const int *neighbors = list.firstneigh[atom];
  int end = pairs_;
  for (int jj = 0; jj < list.numneigh[atom]; ++jj) {
    const int j = neighbors[jj] & NEIGHMASK;    // the upper bits mark special (bonded) neighbours
    const double dx = x[j][0] - xi, dy = x[j][1] - yi, dz = x[j][2] - zi;
    const double squared = dx * dx + dy * dy + dz * dz;
    if (squared >= cutoff_squared || row_of_[j] < 0)
      continue;
    if (!are_apart(squared))
      throw std::runtime_error(contact_message(*lmp_, atom, j, squared));
    double *vector = vectors.data() + 3 * std::ptrdiff_t(end);
    vector[0] = dx;
    vector[1] = dy;
    vector[2] = dz;
    pair_i.data()[end] = row;
    pair_j.data()[end] = row_of_[j];
    pair_elements.data()[end] = elements.data()[row_of_[j]];
    ++end;
  }
  centre_atoms.data()[centres_] = row;
  centre_elements.data()[centres_] = elements.data()[row];
  centre_pairs.data()[centres_] = end - pairs_;
  ++centres_;
  pairs_ = end;
}

// Breadth-first search over ghosts: each layer adds the pairs of the ghosts that the previous layer's pairs lead to.
// LAMMPS' REQ_GHOST list holds the neighbours of all ghosts, most of which a model with few layers does not need.
void NeighborArrays::add_ghost_layers(const LAMMPS_NS::NeighList &list, const NeighborOptions &options) {
  std::vector<char> seen(atoms(), 0);
  std::fill_n(seen.begin(), local_, 1);
  int first_pair = 0;
  for (int layer = 1; layer < options.layers; ++layer) {
    std::vector<int> next;
    for (int pair = first_pair; pair < pairs_; ++pair) {
      const int row = pair_j.data()[pair];
      if (!seen[row])
        next.push_back(row);
      seen[row] = 1;
    }
    first_pair = pairs_;
    // In the order of LAMMPS, so that sums over pairs do not depend on the order of discovery.
    std::sort(next.begin(), next.end());
    for (const int row : next)
      add_centre(list, atom_of_[row], options.cutoff * options.cutoff);
  }
}

double NeighborArrays::bytes() const {
  double total = vectors.bytes() + positions.bytes() + tags.bytes() + sizeof(int) * static_cast<double>(atom_of_.size() + row_of_.size());
  for (const auto *array :
       {&elements, &centre_atoms, &centre_elements, &centre_pairs, &pair_i, &pair_j, &pair_elements})
    total += array->bytes();
  return total;
}

}    // namespace fitsnap_nn
