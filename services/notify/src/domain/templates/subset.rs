//! How much of Jinja a text may use. A handful of steps can make texts and lists of any size where an operator joins what it
//! has to itself, where lists are put into lists, or where what is printed is caught; nothing of that is bounded by the number of
//! steps, and nothing of it is needed to write a message. So it is refused before anything is compiled, for compiling
//! works out what is constant. What filters make is counted while they work (`filters.rs`).

use super::filters;
use crate::domain::schema::nearest;
use minijinja::machinery::{Span, ast};
use minijinja::syntax::SyntaxConfig;

/// Elements of a list that are no constants, and slices of one text: each may hold a text of its own.
const MOST_ITEMS: usize = 100;
const MOST_SLICES: usize = 20;

/// The line and the reason where a text uses more. What can't be parsed is the compiler's to explain.
pub(super) fn check(name: &str, source: &str) -> Result<(), (usize, String)> {
    let Ok(parsed) = minijinja::machinery::parse(source, name, SyntaxConfig::default()) else {
        return Ok(());
    };
    let mut walk = Walk { slices: 0 };
    walk.statement(&parsed).map_err(|(span, reason)| (usize::from(span.start_line), reason))
}

type Checked = Result<(), (Span, String)>;

fn no<T>(span: Span, reason: &str) -> Result<T, (Span, String)> {
    Err((span, reason.to_owned()))
}

/// Where an expression stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Open,
    /// What is made there stays, or is put into a list: it can't be a list that is made there too.
    Kept,
}

struct Walk {
    slices: usize,
}

impl Walk {
    fn all(&mut self, statements: &[ast::Stmt<'_>]) -> Checked {
        statements.iter().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &ast::Stmt<'_>) -> Checked {
        use ast::Stmt;
        match statement {
            Stmt::Template(whole) => self.all(&whole.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(printed) => self.expression(&printed.expr, Place::Open),
            Stmt::ForLoop(each) if each.recursive => no(each.span(), "a loop that calls itself is not taken"),
            Stmt::ForLoop(each) => {
                self.expression(&each.iter, Place::Open)?;
                self.maybe(each.filter_expr.as_ref())?;
                self.all(&each.body)?;
                self.all(&each.else_body)
            }
            Stmt::IfCond(cond) => {
                self.expression(&cond.expr, Place::Open)?;
                self.all(&cond.true_body)?;
                self.all(&cond.false_body)
            }
            Stmt::WithBlock(with) => {
                for (_, value) in &with.assignments {
                    self.expression(value, Place::Kept)?;
                }
                self.all(&with.body)
            }
            Stmt::Set(set) => self.expression(&set.expr, Place::Kept),
            Stmt::SetBlock(block) => {
                no(block.span(), "{% set %} with a block is not taken; print it where it belongs")
            }
            Stmt::FilterBlock(block) => {
                no(block.span(), "{% filter %} is not taken; use the filter on each value")
            }
            Stmt::AutoEscape(block) => {
                no(block.span(), "{% autoescape %} is not taken: HTML is escaped, nothing else is")
            }
            Stmt::Do(call) => no(call.span(), "{% do %} is not taken"),
            #[allow(unreachable_patterns, reason = "with other features of the engine there are more")]
            _ => Err((Span::default(), "a statement in it is not taken".to_owned())),
        }
    }

    fn maybe(&mut self, expression: Option<&ast::Expr<'_>>) -> Checked {
        expression.map_or(Ok(()), |expression| self.expression(expression, Place::Open))
    }

    fn each<'a, 's: 'a>(
        &mut self,
        all: impl IntoIterator<Item = &'a ast::Expr<'s>>,
        place: Place,
    ) -> Checked {
        all.into_iter().try_for_each(|one| self.expression(one, place))
    }

    fn expression(&mut self, expression: &ast::Expr<'_>, place: Place) -> Checked {
        use ast::Expr;
        match expression {
            Expr::Var(_) | Expr::Const(_) => Ok(()),
            Expr::UnaryOp(op) => self.expression(&op.expr, place),
            Expr::BinOp(op) => {
                operator(op)?;
                self.each([&op.left, &op.right], place)
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr, place)?;
                self.each(compare.ops.iter().map(|op| &op.expr), place)
            }
            Expr::IfExpr(cond) => {
                self.each([&cond.test_expr, &cond.true_expr], place)?;
                self.each(cond.false_expr.as_ref(), place)
            }
            Expr::GetAttr(get) => self.expression(&get.expr, place),
            Expr::GetItem(get) => self.each([&get.expr, &get.subscript_expr], place),
            Expr::Slice(slice) => {
                self.slices += 1;
                if self.slices > MOST_SLICES {
                    return Err((slice.span(), format!("there are more than {MOST_SLICES} slices in it")));
                }
                self.expression(&slice.expr, place)?;
                let ends = [&slice.start, &slice.stop, &slice.step];
                self.each(ends.into_iter().flatten(), place)
            }
            Expr::Filter(filter) => self.filter(filter, place),
            Expr::Test(test) => {
                self.expression(&test.expr, place)?;
                self.arguments(&test.args, test.span(), place)
            }
            Expr::Call(call) => {
                self.expression(&call.expr, place)?;
                self.arguments(&call.args, call.span(), place)
            }
            Expr::List(list) => self.items(&list.items, list.span(), place),
            Expr::Tuple(tuple) => self.items(&tuple.items, tuple.span(), place),
            Expr::Map(map) => match map.keys.iter().chain(&map.values).all(is_constant) {
                true => Ok(()),
                false => no(map.span(), "a map that is written here holds constants only"),
            },
        }
    }

    fn items(&mut self, items: &[ast::Expr<'_>], span: Span, place: Place) -> Checked {
        if items.iter().all(is_constant) {
            return Ok(());
        }
        if place == Place::Kept {
            return no(
                span,
                "a list of what is no constant is used where it is written: not kept, and not put into another one",
            );
        }
        if items.len() > MOST_ITEMS {
            return Err((span, format!("a list of what is no constant has up to {MOST_ITEMS} elements")));
        }
        self.each(items, Place::Kept)
    }

    fn filter(&mut self, filter: &ast::Spanned<ast::Filter<'_>>, place: Place) -> Checked {
        let name = filter.name;
        known(name, filter.span())?;
        let constant = |arg: &ast::CallArg<'_>| match arg {
            ast::CallArg::Pos(value) | ast::CallArg::Kwarg(_, value) => is_constant(value),
            _ => false,
        };
        if let ("map", Some(ast::CallArg::Pos(ast::Expr::Const(inner)))) = (name, filter.args.first())
            && let Some(inner) = inner.value.as_str()
        {
            known(inner, filter.span())?;
        }
        // What stands for elements that lack something could be the list itself.
        if name == "map" && !filter.args.iter().all(constant) {
            return no(filter.span(), "'map' takes constants only");
        }
        self.each(filter.expr.as_ref(), place)?;
        self.arguments(&filter.args, filter.span(), place)
    }

    fn arguments(&mut self, all: &[ast::CallArg<'_>], span: Span, place: Place) -> Checked {
        all.iter().try_for_each(|arg| match arg {
            ast::CallArg::Pos(value) | ast::CallArg::Kwarg(_, value) => self.expression(value, place),
            ast::CallArg::PosSplat(_) | ast::CallArg::KwargSplat(_) => {
                no(span, "arguments are written one by one, not as *list or **map")
            }
        })
    }
}

fn known(name: &str, span: Span) -> Checked {
    if filters::all().any(|known| known == name) {
        return Ok(());
    }
    let near = nearest(name, filters::all());
    let hint = near.map_or_else(String::new, |near| format!("; did you mean '{near}'?"));
    Err((span, format!("there is no filter '{name}'{hint}")))
}

fn is_constant(expression: &ast::Expr<'_>) -> bool {
    match expression {
        ast::Expr::Const(_) => true,
        ast::Expr::UnaryOp(op) => is_constant(&op.expr),
        _ => false,
    }
}

fn is_number(expression: &ast::Expr<'_>) -> bool {
    match expression {
        ast::Expr::Const(constant) => constant.value.is_number(),
        ast::Expr::UnaryOp(op) => is_number(&op.expr),
        _ => false,
    }
}

fn operator(op: &ast::Spanned<ast::BinOp<'_>>) -> Checked {
    use ast::BinOpKind;
    match op.op {
        BinOpKind::Concat => no(op.span(), "'~' is not taken; print one behind the other"),
        BinOpKind::Mul => {
            no(op.span(), "'*' is not taken: it repeats texts too; the message can bring what it gives")
        }
        BinOpKind::Pow => no(op.span(), "'**' is not taken; the message can bring what it gives"),
        BinOpKind::Add if !is_number(&op.left) && !is_number(&op.right) => no(
            op.span(),
            "'+' is taken with a number that is written here, as in n + 1: it joins texts and lists too",
        ),
        _ => Ok(()),
    }
}
