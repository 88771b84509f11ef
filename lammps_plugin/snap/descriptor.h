// Bispectrum components and their derivatives. Used by the pair style and, through c_api.h, by Python; includes neither
// LAMMPS nor Python headers.

#ifndef FITSNAP_NN_SNAP_DESCRIPTOR_H
#define FITSNAP_NN_SNAP_DESCRIPTOR_H

#include "kernel.h"

#include <cstddef>
#include <new>
#include <string>
#include <vector>

namespace fitsnap_nn::snap {

// Central atoms and their neighbours. Neighbours beyond the cutoff are allowed and ignored.
struct NeighbourLists {
  int atoms;
  const int *elements;              // [atom]: element index from 0
  const int *first;                 // [atom + 1]: index of an atom's first neighbour
  const int *neighbour_elements;    // [neighbour]
  const double *displacements;      // [neighbour][xyz]: from the atom to the neighbour
};

// Allocator with the alignment of the widest vector registers (64 bytes): the kernel reads its arrays with aligned
// loads, and malloc guarantees 16 bytes only.
template <class T> struct Aligned {
  using value_type = T;
  static constexpr std::align_val_t ALIGNMENT{64};
  Aligned() = default;
  template <class U> Aligned(const Aligned<U> &) {}
  T *allocate(std::size_t count) { return static_cast<T *>(::operator new(count * sizeof(T), ALIGNMENT)); }
  void deallocate(T *memory, std::size_t) { ::operator delete(memory, ALIGNMENT); }
  template <class U> bool operator==(const Aligned<U> &) const { return true; }
  template <class U> bool operator!=(const Aligned<U> &) const { return false; }
};
using Doubles = std::vector<double, Aligned<double>>;

class Descriptor {
 public:
  // `instruction_set` is the name of a kernel; empty selects the best one that this processor supports.
  // Throws std::invalid_argument if an option or the name is invalid.
  explicit Descriptor(const Options &options, const std::string &instruction_set = "");

  int size() const { return view_.components; }
  double cutoff(int element, int other) const;
  const char *instruction_set() const { return kernel_->name; }

  // Sets the atoms of the following calls and computes their U matrices.
  void load(const NeighbourLists &atoms);
  // values [atom][component]: the components B.
  void components(double *values);
  // beta [atom][component] = dE/dB -> values [neighbour][xyz]: dE by the displacement of the neighbour.
  void forces(const double *beta, double *values);
  // values [neighbour][xyz][component]: dB of the central atom by the displacement of the neighbour.
  void gradients(double *values);
  // In bytes.
  double memory_usage() const;

 private:
  // The atoms of one kernel call: `lanes` of them, fewer in the last group. Slot k holds the k-th neighbour of each
  // atom (of a channel); lanes of atoms with fewer neighbours stay empty.
  struct Group {
    int first_atom, atoms;
    std::size_t first_slot;
    int slots;
  };

  void add_group(const NeighbourLists &atoms, int first_atom, int count);
  void fill_slot(double *field, int element, int other, const double *displacement, double r) const;
  void compute_sfac(int element, int other, double r, double &sfac, double &dsfac) const;
  Batch batch_of(std::size_t group);
  template <class Copy> void for_each_neighbour(const Group &group, Copy copy) const;

  Options options_;
  Tables tables_;
  TablesView view_;
  const Kernel *kernel_;
  std::size_t neighbour_count_ = 0;
  std::vector<Group> groups_;
  std::vector<int> elements_;         // [atom]
  std::vector<int> channel_slots_;    // [group][channel + 1]: first slot of each channel, relative to the group's
  std::vector<int> neighbours_;       // [slot][lane]: index of the neighbour, or EMPTY
  Doubles slots_, ulisttot_, scratch_;
};

}    // namespace fitsnap_nn::snap

#endif
