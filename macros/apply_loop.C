/// Scores a tree with a header of `pidlab export --format header` in a loop over its entries, and writes a friend tree
/// as `pidlab apply` does: TREE_pid with an entry for each entry of the input, in order.
///
///     root -l -b -q 'apply_loop.C("pid_shms.h", "shms.root", "T", "shms_pid.root")'
///
/// header   pid_RUN.h; its namespace has the same name, and the file must keep it
/// input    the file to score; it is not changed
/// tree     its tree: branches of numbers, arrays of them, or text
/// output   a file that is made, or made again
///
/// Prints how many entries were selected, and returns the number of entries; -1 where something is missing. To be
/// interpreted, not compiled: the header is included when the macro runs.

#include <TBranch.h>
#include <TFile.h>
#include <TInterpreter.h>
#include <TLeaf.h>
#include <TString.h>
#include <TSystem.h>
#include <TTree.h>

#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace pidlab_apply_loop {

/// Finds the leaf of each branch that the header asks for, and turns on what has to be read for it.
struct Finder {
   TTree* tree;
   std::vector<TLeaf*> leaves;
   std::string missing;

   template <class Value>
   void operator()(const char* name, Value&)
   {
      TBranch* branch = tree->GetBranch(name);
      TLeaf* leaf = branch ? static_cast<TLeaf*>(branch->GetListOfLeaves()->At(0)) : nullptr;
      leaves.push_back(leaf);
      if (!leaf) {
         missing += std::string(" ") + name;
         return;
      }
      branch->SetStatus(true);
      if (TLeaf* counter = leaf->GetLeafCount()) counter->GetBranch()->SetStatus(true);
   }
};

/// Copies what the leaves hold in this entry into the members of an event.
struct Filler {
   const std::vector<TLeaf*>& leaves;
   std::size_t next = 0;

   template <class Value>
   void operator()(const char*, Value& value)
   {
      fill(leaves[next++], value);
   }

   void fill(TLeaf* leaf, double& value) { value = leaf->GetValue(); }
   void fill(TLeaf* leaf, bool& value) { value = leaf->GetValue() != 0; }
   void fill(TLeaf* leaf, std::int64_t& value) { value = leaf->GetValueLong64(); }
   void fill(TLeaf* leaf, std::uint64_t& value) { value = static_cast<std::uint64_t>(leaf->GetValueLong64()); }
   void fill(TLeaf* leaf, std::string& value) { value = static_cast<const char*>(leaf->GetValuePointer()); }
   template <class Number>
   void fill(TLeaf* leaf, std::vector<Number>& value)
   {
      value.resize(leaf->GetLen());
      for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<Number>(leaf->GetValue(i));
   }
};

/// The branches of the friend: made when they are first seen, then filled.
struct Outputs {
   TTree* tree;
   std::deque<float> scores; // addresses in a deque stay
   std::deque<bool> decisions;
   std::size_t nextScore = 0, nextDecision = 0;

   void operator()(const char* name, float value)
   {
      if (nextScore == scores.size()) tree->Branch(name, &scores.emplace_back());
      scores[nextScore++] = value;
   }
   void operator()(const char* name, bool value)
   {
      if (nextDecision == decisions.size()) tree->Branch(name, &decisions.emplace_back());
      decisions[nextDecision++] = value;
   }
};

/// The loop; `Header` stands for the header's namespace.
template <class Header>
Long64_t loop(const char* input, const char* treeName, const char* output)
{
   std::unique_ptr<TFile> file(TFile::Open(input));
   TTree* tree = file && !file->IsZombie() ? file->Get<TTree>(treeName) : nullptr;
   if (!tree) {
      fprintf(stderr, "apply_loop: %s holds no tree %s\n", input, treeName);
      return -1;
   }
   typename Header::Event event;
   tree->SetBranchStatus("*", false);
   Finder finder{tree, {}, ""};
   Header::branches(event, finder);
   if (!finder.missing.empty()) {
      fprintf(stderr, "apply_loop: %s has no branch%s\n", treeName, finder.missing.c_str());
      return -1;
   }
   std::unique_ptr<TFile> target(TFile::Open(output, "RECREATE"));
   if (!target || target->IsZombie()) return -1;
   auto* scored = new TTree(TString(tree->GetName()) + "_pid", "scores and decisions"); // the file owns it
   Outputs outputs{scored, {}, {}};
   Header::outputs(event, outputs); // makes the branches
   Long64_t selected = 0;
   const Long64_t n = tree->GetEntries();
   for (Long64_t entry = 0; entry < n; ++entry) {
      tree->GetEntry(entry);
      Filler filler{finder.leaves};
      Header::branches(event, filler);
      outputs.nextScore = outputs.nextDecision = 0;
      Header::outputs(event, outputs);
      selected += outputs.decisions.front();
      scored->Fill();
   }
   target->Write();
   printf("apply_loop: %lld of %lld entries selected; %s\n", selected, n, output);
   return n;
}

} // namespace pidlab_apply_loop

Long64_t apply_loop(const char* header, const char* input, const char* tree, const char* output)
{
   TString space = gSystem->BaseName(header);
   space.Remove(space.Last('.'));
   const TString name = "pidlab_header_" + space;
   const TString code = TString("#include \"") + header + "\"\nstruct " + name + " {\n   using Event = " + space +
                        "::Event;\n   template <class V> static void branches(Event& e, V&& v) { " + space +
                        "::branches(e, v); }\n   template <class V> static void outputs(const Event& e, V&& v) { " + space +
                        "::outputs(e, v); }\n   static constexpr bool candidates = " + space + "::candidates;\n};\n";
   if (!gInterpreter->Declare(code)) {
      fprintf(stderr, "apply_loop: %s is no header of pidlab, or was given another name\n", header);
      return -1;
   }
   if (gInterpreter->Calc("(long)" + name + "::candidates")) {
      fprintf(stderr, "apply_loop: %s scores candidates, several an entry; use apply_rdataframe.C\n", header);
      return -1;
   }
   return gInterpreter->Calc(TString::Format("(Longptr_t)pidlab_apply_loop::loop<%s>(\"%s\", \"%s\", \"%s\")", name.Data(),
                                             input, tree, output));
}
