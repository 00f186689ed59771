/// Scores a tree with a header of `pidlab export --format header`, with RDataFrame on all cores, and writes a new tree
/// with the branches of the input and the scores and decisions behind them.
///
///     root -l -b -q 'apply_rdataframe.C("pid_shms.h", "shms.root", "T", "scored.root")'
///
/// header   pid_RUN.h; its namespace has the same name, and the file must keep it
/// input    a file or a pattern such as data/*.root
/// tree     the tree to score
/// output   a file that is made, or made again, with a tree of the same name; dots in branch names become underscores
/// threads  how many; left out: one a core. On several, the entries of the output come in another order
///
/// Prints how many entries were selected and how many each decision keeps, and returns the number of entries; -1 where
/// something is missing.

#include <ROOT/RDataFrame.hxx>
#include <TInterpreter.h>
#include <TString.h>
#include <TSystem.h>

#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace pidlab_apply_rdataframe {

using Node = ROOT::RDF::RNode;

/// The header's function `define`, which adds the columns; nothing where the header is not one of pidlab's.
Node (*definer(const TString& header))(Node)
{
   TString space = gSystem->BaseName(header);
   space.Remove(space.Last('.'));
   const TString name = "pidlab_define_" + space;
   const TString code = "#include \"" + header + "\"\nnamespace { ROOT::RDF::RNode " + name +
                        "(ROOT::RDF::RNode frame) { return " + space + "::define(frame); } }\n";
   if (!gInterpreter->Declare(code)) return nullptr;
   return reinterpret_cast<Node (*)(Node)>(gInterpreter->Calc("(Longptr_t)&" + name));
}

} // namespace pidlab_apply_rdataframe

Long64_t apply_rdataframe(const char* header, const char* input, const char* tree, const char* output, unsigned threads = 0)
{
   using namespace pidlab_apply_rdataframe;
   auto* define = definer(header);
   if (!define) {
      fprintf(stderr, "apply_rdataframe: %s is no header of pidlab, or was given another name\n", header);
      return -1;
   }
   ROOT::EnableImplicitMT(threads);
   try {
      Node scored = define(ROOT::RDataFrame(tree, input));
      std::vector<std::string> decisions;
      for (const auto& column : scored.GetDefinedColumnNames())
         if (column.rfind("pid_", 0) == 0 && scored.GetColumnType(column) == "bool") decisions.push_back(column);
      std::vector<ROOT::RDF::RResultPtr<ULong64_t>> kept;
      for (const auto& decision : decisions) kept.push_back(scored.Filter([](bool passed) { return passed; }, {decision}).Count());
      auto n = scored.Count();
      scored.Snapshot(tree, output);
      for (std::size_t i = 0; i < decisions.size(); ++i)
         printf("%s keeps %llu of %llu entries\n", decisions[i].c_str(), *kept[i], *n);
      return *n;
   } catch (const std::exception& error) {
      fprintf(stderr, "apply_rdataframe: %s\n", error.what());
      return -1;
   }
}
